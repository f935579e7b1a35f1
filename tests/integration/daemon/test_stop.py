"""How it ends: idle sessions at once, transactions when they are done, everybody when told twice."""

import signal
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.integration.daemon.clients import leaks
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Daemon
from tests.support.eventually import eventually


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any]) -> Daemon:
    return run(settings)


def readiness(daemon: Daemon) -> tuple[int, list[str]]:
    answer = daemon.probe("/readyz")
    return answer.status, [check["name"] for check in answer.json["checks"] if check["required"] and not check["ok"]]


def test_sigterm_ends_idle_sessions_lets_a_transaction_finish_and_takes_nobody_new(
    daemon: Daemon, database: Database
) -> None:
    with daemon.connect("app") as working, daemon.connect("app") as idle, daemon.connect("jobs") as idle_too:
        working.execute("CREATE TABLE t (n int)")
        working.commit()
        working.execute("INSERT INTO t VALUES (1)")
        for client in (idle, idle_too):
            client.execute("SELECT 1")
            client.commit()

        daemon.signal(signal.SIGTERM)
        eventually(lambda: readiness(daemon) == (503, ["listener", "draining"]))
        assert daemon.told("draining")["sessions"] == 3
        for client in (idle, idle_too):
            with pytest.raises(errors.AdminShutdown):
                client.execute("SELECT 1")
            assert client.closed
        with pytest.raises(psycopg.OperationalError, match="refused"):
            daemon.connect("app")
        assert daemon.probe("/livez").status == 200
        assert daemon.poll() is None, "it waits for the transaction"

        working.execute("INSERT INTO t VALUES (2)")
        working.commit()
        # libpq takes an error that it reads together with the commit's answer for a notice: the code may be lost.
        with pytest.raises(psycopg.OperationalError):
            working.execute("SELECT 1")
    assert daemon.exit_code() == 0
    assert daemon.told("stopped")["sessions_cut_off"] == 0
    with database.connect() as direct:
        assert direct.execute("SELECT count(*) FROM t").fetchone() == (2,)
        eventually(lambda: _connections(direct, database.name) == 0)


def _connections(direct: psycopg.Connection[Any], database: str) -> int:
    row = direct.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'",
        [database],
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(daemon: Daemon, database: Database, first: signal.Signals) -> None:
    with daemon.connect("app") as working:
        working.execute("CREATE TABLE t (n int)")
        daemon.signal(first)
        eventually(lambda: daemon.probe("/readyz").status == 503)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code(within=5) == 0
        with pytest.raises(errors.AdminShutdown):
            working.execute("SELECT 1")
    assert daemon.told("stopped")["sessions_cut_off"] == 1
    with database.connect() as direct:
        assert direct.execute("SELECT to_regclass('t')").fetchone() == (None,), "what was not committed is not there"


def test_a_transaction_that_outlasts_the_drain_is_cut_off(run: Run, settings: dict[str, Any]) -> None:
    settings["limits"]["drain_timeout"] = "200ms"
    daemon = run(settings)
    with daemon.connect("app") as working:
        working.execute("SELECT 1")
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code(within=10) == 0
        with pytest.raises(errors.AdminShutdown):
            working.execute("SELECT 1")
    assert daemon.told("stopped")["sessions_cut_off"] == 1


def test_leases_are_renewed_while_it_drains_and_none_is_begun(daemon: Daemon) -> None:
    term = daemon.ask("PUT", "/v1/leases/a", {"holderIdentity": "pod-1"}).json
    with daemon.connect("app") as working:
        working.execute("SELECT 1")
        daemon.signal(signal.SIGTERM)
        eventually(lambda: daemon.probe("/readyz").status == 503)
        key = {"holderIdentity": "pod-1", "token": term["token"]}
        assert daemon.ask("POST", "/v1/leases/a/renew", key).status == 200
        refused = daemon.ask("PUT", "/v1/leases/b", {"holderIdentity": "pod-1"})
        assert (refused.status, refused.json["error"]) == (503, "shutting_down")
    assert daemon.exit_code() == 0


def test_sigterm_does_not_wait_for_sessions_that_hold_a_server_without_a_transaction(
    run: Run, settings: dict[str, Any]
) -> None:
    settings["pools"]["sessions"] = {"size": 1, "mode": "session", "policy": "patient"}
    daemon = run(settings)
    with daemon.connect("sessions", autocommit=True) as whole, daemon.connect("app", autocommit=True) as pinned:
        whole.execute("SELECT 1")
        pinned.execute("SELECT pg_advisory_lock(1)")
        eventually(lambda: daemon.pool("app")["pinned"] == 1)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code(within=5) == 0
        for client in (whole, pinned):
            with pytest.raises(errors.AdminShutdown):
                client.execute("SELECT 1")
    assert daemon.told("stopped")["sessions_cut_off"] == 0


def test_sigterm_does_not_wait_for_a_session_whose_transaction_the_guard_has_ended(
    run: Run, settings: dict[str, Any]
) -> None:
    settings["policies"]["patient"] = {"idle_in_transaction": {"rollback": "100ms"}}
    daemon = run(settings)
    with leaks(daemon, "app", 1) as [leak]:
        eventually(lambda: daemon.pool("app")["held"] == 0)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code(within=5) == 0
        with pytest.raises(errors.AdminShutdown):
            leak.client.execute("SELECT 1")


def test_a_leak_holds_the_drain_up_no_longer_than_its_threshold(run: Run, settings: dict[str, Any]) -> None:
    settings["policies"]["patient"] = {"idle_in_transaction": {"rollback": "1s"}}
    daemon = run(settings)
    with leaks(daemon, "app", 1) as [leak]:
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code(within=5) == 0
        with pytest.raises(errors.IdleInTransactionSessionTimeout):
            leak.client.execute("SELECT 1")
    assert daemon.told("stopped")["sessions_cut_off"] == 0


def test_a_pinned_session_ends_when_its_transaction_has(daemon: Daemon) -> None:
    with daemon.connect("app") as pinned:
        pinned.execute("SELECT pg_advisory_lock(1)")
        daemon.signal(signal.SIGTERM)
        eventually(lambda: daemon.probe("/readyz").status == 503)
        pinned.commit()
        assert daemon.exit_code(within=5) == 0
