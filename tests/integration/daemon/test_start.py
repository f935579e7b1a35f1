"""How `poolguard run` starts, and what it says when it can't."""

import signal
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import ANY_PORTS
from tests.support.eventually import eventually


def test_database_url_alone_is_enough_to_run(run: Run, database: Database) -> None:
    """But for its ports, which are free ones here."""
    daemon = run({}, environ={"DATABASE_URL": database.url})
    for pool in ("app", "jobs", "election", "any-other-name"):
        with daemon.connect(pool) as client:
            assert client.execute("SELECT current_database()").fetchone() == (database.name,)
    assert [pool["name"] for pool in daemon.get("/v1/pools")["pools"]] == ["election", "jobs", "app"]
    assert daemon.probe("/startupz").status == daemon.probe("/readyz").status == daemon.probe("/livez").status == 200
    assert daemon.logged("poolguard runs")[0]["upstream"]


def test_it_starts_while_postgresql_is_away_says_why_it_is_not_ready_and_serves_who_waited(
    run: Run, settings: dict[str, Any], pg_control: EmbeddedPostgres
) -> None:
    pg_control.stop()
    daemon = run(settings)
    renewal = daemon.ask("PUT", "/v1/leases/a", {"holderIdentity": "pod-1"})
    assert (renewal.status, renewal.json["error"]) == (503, "lease_unavailable")
    assert int(renewal.headers["Retry-After"]) >= 1
    assert daemon.ask("GET", "/leader/a").status == 503
    assert daemon.probe("/livez").status == 200

    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(_ask_for_one, daemon.conninfo("app"))
        for pool in ("pool:app", "pool:jobs"):  # the one that is used, and the one that nobody has used yet

            def why(pool: str = pool) -> bool:
                return "no server can be opened" in _unready(daemon.probe("/readyz").json).get(pool, "")

            assert eventually(why, within=10)
        pg_control.start()
        assert waiter.result(timeout=20) == 1
    assert eventually(lambda: daemon.probe("/readyz").status == 200, within=15)
    assert eventually(lambda: daemon.ask("PUT", "/v1/leases/a", {"holderIdentity": "pod-1"}).status == 201, within=15)


def test_a_start_is_no_block_of_the_loop(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    assert daemon.metric("poolguard_loop_blocks_total", place="poolguard/daemon/main.py serve") == 0
    assert daemon.logged("event loop was blocked") == []


def test_postgresql_that_goes_away_later_is_told_and_leaves_it_ready(
    run: Run, settings: dict[str, Any], pg_control: EmbeddedPostgres
) -> None:
    daemon = run({**settings, "limits": {"drain_timeout": "500ms"}})
    assert eventually(lambda: daemon.probe("/readyz").status == 200)
    pg_control.stop()
    with pytest.raises(psycopg.Error), ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(_ask_for_one, daemon.conninfo("app"))
        eventually(lambda: daemon.pool("app")["last_error"], within=10)
        answer = daemon.probe("/readyz")
        (check,) = [check for check in answer.json["checks"] if check["name"] == "pool:app"]
        assert (answer.status, check["ok"], check["required"]) == (200, False, False)
        assert check["why"].startswith("no server can be opened: ")
        daemon.signal(signal.SIGTERM)
        waiter.result(timeout=20)


def _ask_for_one(conninfo: str) -> object:
    with psycopg.connect(conninfo) as client:
        row = client.execute("SELECT 1").fetchone()
    return row and row[0]


def _unready(body: Mapping[str, Any]) -> dict[str, str]:
    return {check["name"]: check["why"] for check in body["checks"] if body["status"] != "ok" and not check["ok"]}


@pytest.mark.parametrize("listener", ["clients", "control", "metrics"])
def test_a_taken_port_ends_the_start_with_a_line_that_names_it(
    run: Run, settings: dict[str, Any], listener: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = {**ANY_PORTS, listener: {"host": "127.0.0.1", "port": port}}
        daemon = run({**settings, "listen": listen}, wait=False)
        assert daemon.exit_code() == 1
    [told] = daemon.logged("poolguard can't start")
    assert told["reason"] == f"{listener}: can't listen on 127.0.0.1:{port}: Address already in use"
    assert f"listen.{listener}" in told["hint"]
    assert "Traceback" not in daemon.log_text()


def test_a_bad_settings_file_ends_the_start_with_every_problem_and_its_place(run: Run, database: Database) -> None:
    daemon = run({"pools": {"app": {"size": 0, "sise": 3, "wait_timeout": 5}}}, wait=False)
    assert daemon.exit_code() == 1
    lines = daemon.log_text().splitlines()
    for problem in ("pools.app.size: ", "pools.app.sise: ", "pools.app.wait_timeout: "):
        [line] = [line for line in lines if problem in line]
        assert line.startswith(f"{daemon.file}:"), line
    assert "Traceback" not in daemon.log_text()


def test_without_any_word_of_where_postgresql_is_it_says_what_to_set(run: Run) -> None:
    daemon = run({}, wait=False)
    assert daemon.exit_code() == 1
    [told] = daemon.logged("poolguard can't start")
    assert "where PostgreSQL is" in told["reason"]
    assert "DATABASE_URL" in told["hint"]


@pytest.fixture
def silent_postgresql() -> Any:
    """Takes connections and never says a word: whoever waits for it waits until its own patience ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/postgres"


def test_signals_while_it_starts_are_heard_sighup_waits_and_sigterm_ends_it(
    run: Run, settings: dict[str, Any], silent_postgresql: str
) -> None:
    daemon = run({**settings, "upstream": {"url": silent_postgresql}}, wait=False)
    daemon.told("poolguard starts", within=20)
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGTERM)
    assert daemon.exit_code(within=10) == 0
    assert daemon.logged("stopped before it was started")
