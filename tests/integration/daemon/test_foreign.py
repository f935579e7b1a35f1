"""Lock holders that are not poolguard's: ended by an explicit rule, while our sessions wait, and by nothing else."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

RULE: dict[str, Any] = {
    "name": "forgotten-psql",
    "when": {"application_name": "psql*", "blocking_for": "1s"},
    "then": {"terminate": "0s"},
}
MINE = "guarded"
"""The role of poolguard and of its clients: no superuser."""
THEIRS = "somebody"

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def people(database: Database) -> Iterator[Database]:
    """A table for everybody, poolguard's role, and one of somebody else."""
    with database.connect() as admin:
        for role in (MINE, THEIRS):
            admin.execute(f"CREATE ROLE {role} LOGIN")
        admin.execute(f"GRANT CREATE ON DATABASE {database.name} TO {MINE}")
        admin.execute("CREATE TABLE item (id int PRIMARY KEY, n int)")
        admin.execute("INSERT INTO item VALUES (1, 0), (2, 0)")
        admin.execute("GRANT ALL ON item TO PUBLIC")
    yield database
    with database.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('guarded', 'somebody')")
        for role in (MINE, THEIRS):
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


@pytest.fixture
def guarded(run: Run, settings: dict[str, Any], people: Database) -> Any:
    """Run poolguard as MINE, which has been granted *roles*, with one rule."""

    def start(*roles: str, **rule: Any) -> Daemon:
        with people.connect() as admin:
            for role in roles:
                admin.execute(f"GRANT {role} TO {MINE}")
        settings["upstream"]["url"] = people.url.replace("//postgres@", f"//{MINE}@", 1)
        settings["observer"] = {"interval": "1s"}
        settings["leases"] = {"enabled": False}
        settings["pools"]["app"]["size"] = 4
        settings["foreign_blockers"] = {"rules": [RULE | rule], "budget": {"cooldown": "0s"}}
        return run(settings)

    return start


def somebody(database: Database, user: str = THEIRS, application: str = "psql") -> Connection:
    """A client of PostgreSQL's that does not come through poolguard."""
    dsn = psycopg.conninfo.make_conninfo(database.dsn, user=user, application_name=application)
    return psycopg.connect(dsn)


UPDATE = "UPDATE item SET n = n + 1 WHERE id = 1"


@contextmanager
def blocked(daemon: Daemon) -> Iterator["Future[Any]"]:
    """A client of poolguard's that waits for the row; it must get it before the block ends."""
    with ThreadPoolExecutor(1) as threads:
        client = daemon.connect("app", application_name="shop", autocommit=True)
        try:
            yield threads.submit(client.execute, UPDATE)
        finally:
            client.cancel_safe(timeout=5)
            client.close()


def incidents(daemon: Daemon, outcome: str) -> Any:
    return daemon.get(f"/v1/incidents?rule=forgotten-psql&outcome={outcome}")["incidents"]


def count(daemon: Daemon, outcome: str) -> float:
    return daemon.metric("poolguard_foreign_actions_total", rule="forgotten-psql", action="terminate", outcome=outcome)


def test_a_forgotten_psql_is_ended_and_whoever_waited_goes_on(guarded: Any, people: Database) -> None:
    daemon: Daemon = guarded(
        "pg_signal_backend", "pg_read_all_stats", when=RULE["when"] | {"state": "idle_in_transaction"}
    )
    assert count(daemon, "done") == 0
    with somebody(people) as leak, somebody(people, application="report") as bystander:
        leak.execute(UPDATE)
        bystander.execute("SELECT n FROM item")
        with blocked(daemon) as waiting:
            waiting.result(20)
        (incident,) = eventually(lambda: incidents(daemon, "done"), within=10)
        assert incident["kind"] == "foreign"
        assert (incident["transaction"]["user"], incident["transaction"]["blocking"]) == (THEIRS, 1)
        assert incident["backend"]["pid"] == leak.info.backend_pid
        assert incident["lock_tree"]["blocked"][0]["application_name"] == "shop"
        assert {matched["key"] for matched in incident["matched"]} >= {"application_name", "state", "blocking"}
        assert '"psql"' in incident["exemption"]
        with pytest.raises(psycopg.errors.AdminShutdown):
            leak.execute("SELECT 1")
        assert bystander.execute("SELECT 1").fetchone() == (1,)
    assert count(daemon, "done") == 1


def test_a_running_statement_is_cancelled_and_its_session_goes_on(guarded: Any, people: Database) -> None:
    rule = {"when": RULE["when"] | {"state": "active"}, "then": {"cancel": "0s", "terminate": "5m"}}
    daemon: Daemon = guarded("pg_signal_backend", "pg_read_all_stats", **rule)
    with somebody(people) as slow, ThreadPoolExecutor(1) as threads:
        slow.execute(UPDATE)
        running = threads.submit(slow.execute, "SELECT pg_sleep(60)")
        with blocked(daemon) as waiting:
            waiting.result(20)
        with pytest.raises(psycopg.errors.QueryCanceled):
            running.result(10)
        slow.rollback()
        assert slow.execute("SELECT 1").fetchone() == (1,)
    (incident,) = eventually(lambda: incidents(daemon, "done"), within=10)
    assert (incident["action"], incident["client_sees"]["sqlstate"]) == ("cancel", "57014")


def test_without_the_privilege_nothing_happens_and_the_incident_says_what_to_grant(
    guarded: Any, people: Database
) -> None:
    daemon: Daemon = guarded("pg_read_all_stats")
    with somebody(people) as leak:
        leak.execute(UPDATE)
        with blocked(daemon) as waiting:
            incident = eventually(lambda: incidents(daemon, "no_privilege"), within=20)[-1]
            assert "GRANT pg_signal_backend" in incident["advice"]
            assert leak.execute("SELECT 1").fetchone() == (1,)
            leak.rollback()
            waiting.result(20)
    assert count(daemon, "no_privilege") >= 1
    assert count(daemon, "done") == 0


def test_whom_our_role_can_not_see_it_can_not_end_either(guarded: Any, people: Database) -> None:
    """With pg_signal_backend alone nobody could say that it still does what was judged."""
    daemon: Daemon = guarded("pg_signal_backend")
    with somebody(people) as leak:
        leak.execute(UPDATE)
        with blocked(daemon) as waiting:
            eventually(lambda: incidents(daemon, "no_privilege"), within=20)
            leak.rollback()
            waiting.result(20)


def test_a_superuser_s_session_is_left_alone_and_named(guarded: Any, people: Database) -> None:
    daemon: Daemon = guarded("pg_signal_backend", "pg_read_all_stats")
    with somebody(people, user=people.user) as admin:
        admin.execute(UPDATE)
        with blocked(daemon) as waiting:
            (incident,) = eventually(lambda: incidents(daemon, "spared"), within=20)
            assert incident["spared_by"] == "superuser"
            assert admin.execute("SELECT 1").fetchone() == (1,)
            admin.rollback()
            waiting.result(20)


def test_a_rule_that_a_reload_brings_counts_at_once(guarded: Any, people: Database, settings: dict[str, Any]) -> None:
    daemon: Daemon = guarded("pg_signal_backend", "pg_read_all_stats", mode="observe")
    with somebody(people) as leak:
        leak.execute(UPDATE)
        with blocked(daemon) as waiting:
            (incident,) = eventually(lambda: incidents(daemon, "observed"), within=20)
            assert incident["mode"] == "observe"
            assert leak.execute("SELECT 1").fetchone() == (1,)
            settings["foreign_blockers"]["rules"] = [RULE]
            daemon.write(settings)
            waiting.result(30)
        with pytest.raises(psycopg.errors.AdminShutdown):
            leak.execute("SELECT 1")


def test_a_prepared_transaction_is_named_and_left(guarded: Any, people: Database) -> None:
    daemon: Daemon = guarded("pg_signal_backend", "pg_read_all_stats")
    with somebody(people) as client:
        client.autocommit = True
        for sql in ("BEGIN", UPDATE, "PREPARE TRANSACTION 'order-7'"):
            client.execute(sql)
        with blocked(daemon) as waiting:
            (tree,) = eventually(lambda: daemon.get("/v1/locks")["trees"], within=20)
            assert (tree["class"], tree["root"]["gid"]) == ("prepared_transaction", "order-7")
            client.execute("ROLLBACK PREPARED 'order-7'")
            waiting.result(20)
    assert daemon.get("/v1/incidents")["incidents"] == []
