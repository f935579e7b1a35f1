"""What an operator is told about locks, deadlocks and duplicate keys: through a running poolguard, by real clients."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest
from psycopg import errors

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Connection, Daemon
from tests.support.eventually import eventually


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any], database: Database) -> Daemon:
    with database.connect() as admin:
        make_jobs(admin)
    settings["pools"]["app"]["size"] = 4
    return run(settings | {"observer": {"interval": "1s"}})


def make_jobs(admin: Connection) -> None:
    admin.execute("CREATE TABLE job (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO job SELECT n, 0 FROM generate_series(1, 9) AS n")


def update(row: int) -> str:
    return f"UPDATE job SET n = n + 1 WHERE id = {row}"


def test_the_root_of_a_lock_queue_is_named_with_the_transaction_to_act_on(daemon: Daemon) -> None:
    with daemon.connect("app", application_name="leaky") as leak, ThreadPoolExecutor(1) as threads:
        leak.execute(update(1))
        waiter = threads.submit(run_once, daemon.conninfo("app"), update(1))
        (tree,) = eventually(lambda: daemon.get("/v1/locks")["trees"], within=15)
        assert tree["class"] == "idle_in_transaction"
        assert (tree["root"]["application_name"], tree["root"]["pool"]) == ("leaky", "app")
        text = daemon.ask("GET", "/v1/locks?format=text").text
        assert 'pid {} ("leaky"'.format(tree["root"]["pid"]) in text
        assert daemon.ask("POST", f"/v1/transactions/{tree['root']['transaction']}/rollback", {}).status == 200
        assert waiter.result(10) is None
        leak.rollback()
    eventually(lambda: daemon.get("/v1/locks")["waiters"] == 0, within=15)
    assert daemon.metric("poolguard_observer_connected") == 1


def test_a_wait_in_vain_behind_a_lock_names_who_has_it(run: Run, settings: dict[str, Any], database: Database) -> None:
    with database.connect() as admin:
        make_jobs(admin)
    settings["pools"]["app"]["wait_timeout"] = "1s"
    daemon = run(settings | {"observer": {"interval": "1s"}})
    with psycopg.connect(database.url, application_name="lunch") as root, ThreadPoolExecutor(2) as threads:
        root.execute(update(1))
        stuck = [threads.submit(run_once, daemon.conninfo("app"), update(1)) for _ in range(2)]
        eventually(lambda: daemon.get("/v1/locks")["waiters"] == 2, within=15)
        refused = run_once(daemon.conninfo("app"), "SELECT 1")
        assert isinstance(refused, errors.TooManyConnections)
        pid = root.info.backend_pid
        assert f'; most of them wait for locks behind pid {pid} ("lunch", user' in str(refused)
        root.rollback()
        assert [one.result(10) for one in stuck] == [None, None]
    (incident,) = daemon.get("/v1/incidents?outcome=timeout")["incidents"]
    assert incident["classification"] == "locks_hold_pool"
    assert incident["lock_tree"]["root"]["application_name"] == "lunch"
    logged = daemon.told("a client waited for a server in vain")
    assert '"lunch"' in logged["advice"], "the holders are only in its queue"


def run_once(conninfo: str, *statements: str) -> BaseException | None:
    with psycopg.connect(conninfo) as client:
        try:
            for sql in statements:
                client.execute(sql)
        except psycopg.Error as error:
            return error
    return None


def test_three_statements_that_deadlock_are_named_as_a_cycle(daemon: Daemon) -> None:
    """Check 7: three clients, each with a row, each after the next one's."""
    assert "deadlock detected" in str(deadlock_of_three(daemon))
    assert_told_of_three(daemon)


def deadlock_of_three(daemon: Daemon) -> BaseException:
    """Let them run into each other; what the victim was told."""
    barrier = Barrier(3)

    def client(mine: int, next_one: int, label: str) -> BaseException | None:
        with daemon.connect("app", application_name=label) as connection:
            connection.execute(update(mine))
            barrier.wait(10)
            try:
                connection.execute(f"UPDATE job SET n = {mine} + n WHERE id = {next_one}")
            except errors.DeadlockDetected as error:
                return error
        return None

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(client, mine, mine % 3 + 1, f"worker-{mine}") for mine in (1, 2, 3)]
        (failed,) = [error for one in running if (error := one.result(30)) is not None]
    return failed


def assert_told_of_three(daemon: Daemon) -> None:
    answer = daemon.get("/v1/errors")
    assert answer["deadlocks_total"] == {"app": 1}
    texts = {one["text"] for pair in answer["deadlock_pairs"] for one in pair["statements"]}
    assert "update job set n = ? + n where id = ?" in texts
    (incident,) = daemon.get("/v1/incidents")["incidents"]
    assert (incident["kind"], incident["holders_total"]) == ("deadlock", 3)
    assert incident["advice"].endswith('relation "job".')
    assert {party["application_name"] for party in incident["holders"]} == {"worker-1", "worker-2", "worker-3"}


def test_a_server_that_speaks_german_is_understood(
    run: Run, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 7: by numbers and quotes, not by words."""
    monkeypatch.setenv("LANGUAGE", "de")
    with EmbeddedPostgres(settings={"lc_messages": "C.UTF-8", "deadlock_timeout": "100ms"}) as postgres:
        with postgres.connect() as admin:
            make_jobs(admin)
            try:
                admin.execute("SELECT 1/0")
            except errors.DivisionByZero as error:
                if "Division durch Null" not in str(error):
                    pytest.skip("this PostgreSQL has no translations; Debian's package has")
        settings["upstream"]["url"] = postgres.url
        settings["pools"]["app"]["size"] = 4
        daemon = run(settings)
        assert "Verklemmung" in str(deadlock_of_three(daemon))
        assert_told_of_three(daemon)


def test_a_pool_that_waits_for_itself_is_named_so(run: Run, settings: dict[str, Any]) -> None:
    """One process holds every server in a transaction, and needs another connection to go on."""
    settings["pools"]["app"] |= {"size": 2, "wait_timeout": "300ms"}
    daemon = run(settings)
    with (
        daemon.connect("app", application_name="shop") as one,
        daemon.connect("app", application_name="shop") as two,
        daemon.connect("app", application_name="shop", autocommit=True) as third,
    ):
        one.execute("SELECT 1")
        two.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            third.execute("SELECT 1")
    (incident,) = daemon.get("/v1/incidents")["incidents"]
    assert (incident["kind"], incident["classification"], incident["waiter"]) == ("starvation", "self_deadlock", "shop")


def test_duplicate_keys_are_counted_by_constraint(daemon: Daemon) -> None:
    for _ in range(3):
        assert isinstance(run_once(daemon.conninfo("app"), "INSERT INTO job VALUES (1, 0)"), errors.UniqueViolation)
    (found,) = daemon.get("/v1/errors")["duplicate_keys"]
    latest = found.pop("latest")
    assert found == {"pool": "app", "table": "job", "constraint": "job_pkey", "total": 3}
    assert latest["statement"]["text"] == "insert into job values (...)"
