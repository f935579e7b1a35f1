"""Leases and what hangs on them, through a whole daemon: bound sessions, resigning, PostgreSQL gone."""

import signal
import socket
import threading
from typing import Any

import psycopg
import pytest
from psycopg import errors

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.daemon.conftest import Run
from tests.support.daemon import Daemon, Web
from tests.support.eventually import eventually

CAMPAIGN = "/v1/elections/sched/campaign"


def campaign(daemon: Daemon, holder: str, *, phase: str | None = "leading", **more: object) -> dict[str, Any]:
    body = {"holderIdentity": holder, "requestId": holder, **more}

    def told() -> dict[str, Any] | None:
        answer = daemon.ask("POST", CAMPAIGN, body)
        assert answer.status in {200, 201}, answer
        view: dict[str, Any] = answer.json
        return view if phase in {None, view["phase"]} else None

    view = eventually(told)
    assert view is not None
    return view


def bound(daemon: Daemon, lease: str = "sched") -> "psycopg.Connection[tuple[Any, ...]]":
    return daemon.connect(autocommit=True, options=f"-c poolguard.lease={lease}")


def test_a_session_that_is_bound_to_a_lease_lives_as_long_as_it_is_held(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    with pytest.raises(psycopg.OperationalError, match="not held through this poolguard"):
        bound(daemon)
    campaign(daemon, "pod-1")
    with bound(daemon) as resting, bound(daemon) as working, daemon.connect(autocommit=True) as free:
        assert resting.execute("SELECT 1").fetchone() == (1,)
        assert resting.execute("SELECT current_setting('poolguard.lease', true)").fetchone() in {(None,), ("",)}
        failures: list[BaseException] = []

        def work() -> None:
            try:
                working.execute("SELECT pg_sleep(60)")
            except psycopg.Error as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: len(daemon.get("/v1/transactions")["transactions"]) == 1)
        assert daemon.ask("POST", "/v1/elections/sched/step-down", {"holdOffSeconds": 60}).status == 200
        thread.join(timeout=10)
        assert not thread.is_alive(), "the statement of a bound session runs on"
        assert failures
        with pytest.raises((errors.ObjectNotInPrerequisiteState, psycopg.OperationalError)):
            resting.execute("SELECT 1")
        assert free.execute("SELECT 1").fetchone() == (1,)
    assert daemon.metric("poolguard_clients_refused_total", reason="not_leader") == 1


def test_an_unset_variable_in_place_of_a_lease_s_name_lets_nobody_in(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    with daemon.connect(autocommit=True) as free:  # from here on such clients are let in, or not, without a task
        assert free.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match=r"FATAL:  poolguard\.lease names no lease"):
        bound(daemon, "")


def test_a_replication_connection_ends_with_its_lease_too(run: Run, settings: dict[str, Any]) -> None:
    """And what it runs is cancelled: closing alone would leave a statement to its end."""
    daemon = run(settings)
    replicating = (
        daemon.conninfo("app") + " replication=database options='-c poolguard.lease=sched' application_name=slot"
    )
    with pytest.raises(psycopg.OperationalError, match="not held through this poolguard"):
        psycopg.connect(replicating)
    campaign(daemon, "pod-1")
    with psycopg.connect(replicating, autocommit=True, cursor_factory=psycopg.ClientCursor) as bound:
        backend = bound.execute("SELECT pg_backend_pid()").fetchone()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                bound.execute("SELECT pg_sleep(60)")
            except psycopg.Error as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        with daemon.connect(autocommit=True) as free:
            runs = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            eventually(lambda: free.execute(runs, backend).fetchone() == (1,))
            assert daemon.ask("POST", "/v1/elections/sched/step-down", {"holdOffSeconds": 60}).status == 200
            thread.join(timeout=10)
            assert failures
            eventually(lambda: free.execute(runs, backend).fetchone() == (0,))


def test_a_poolguard_that_is_told_to_stop_resigns_first(run: Run, settings: dict[str, Any]) -> None:
    """Its transactions may take their time: another one leads meanwhile."""
    first, second = run(settings), run(settings)
    campaign(first, "pod-1")
    campaign(second, "pod-2", phase="waiting")
    with first.connect() as busy:
        busy.execute("SELECT 1")
        first.signal(signal.SIGTERM)
        campaign(second, "pod-2")
        assert first.poll() is None, "it has not ended, for a transaction is open"
        busy.commit()
    assert first.exit_code() == 0


def test_readyz_tells_when_postgresql_no_longer_answers_the_leases(
    run: Run, settings: dict[str, Any], pg_control: EmbeddedPostgres
) -> None:
    daemon = run(settings)

    def store() -> dict[str, Any]:
        checks = daemon.probe("/readyz").json["checks"]
        found: dict[str, Any] = next(check for check in checks if check["name"] == "leases")
        return found

    assert store()["ok"]
    pg_control.stop()
    eventually(lambda: not store()["ok"], within=40.0, every=0.2)
    assert daemon.metric("poolguard_lease_store_up") == 0
    pg_control.start()

    def answers() -> bool:
        return daemon.ask("POST", CAMPAIGN, {"holderIdentity": "pod-1", "requestId": "pod-1"}).status != 503

    eventually(answers, within=25.0, every=0.1)  # or else it asks by itself, some seconds later
    eventually(lambda: store()["ok"], within=25.0, every=0.1)


def test_the_old_electors_interface_names_this_host_once_it_leads(run: Run, settings: dict[str, Any]) -> None:
    settings["leases"] = {"elector": {"election": "shop.example/old", "port": 0}}
    daemon = run(settings)
    port = next(line["port"] for line in daemon.logged("listening for HTTP") if line["listener"] == "elector")

    def leads() -> bool:
        with Web(port) as web:
            return web.ask("GET", "/isLeader").status == 200

    eventually(leads)
    with Web(port) as web:
        assert web.ask("GET", "/").json["name"] == socket.gethostname()
    assert daemon.ask("GET", "/leader/shop.example/old").status == 200
