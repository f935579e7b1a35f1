"""Under a policy that ends everything at once: what is never ended, and what is left when something is."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any, Final

import psycopg
import pytest
from psycopg.pq import ExecStatus, PGconn, abc

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database, Server
from tests.support.daemon import Connection, Daemon
from tests.support.eventually import eventually

RUTHLESS: Final = {
    "idle_in_transaction": {"rollback": "100ms", "terminate": "1s"},
    "transaction_age": {"cancel": "100ms", "rollback": "100ms", "terminate": "1s"},
    "statement_age": {"cancel": "100ms", "terminate": "1s"},
    "checkout_age": {"terminate": "1s"},
    "budget": {"kills_per_minute": 1000, "max_share_of_pool": 1.0},
}


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any], database: Database) -> Daemon:
    settings["policies"]["ruthless"] = RUTHLESS
    settings["pools"]["app"]["policy"] = "ruthless"
    settings["pools"]["app"]["size"] = 4
    with database.connect() as admin:
        admin.execute("create table t (a int); insert into t select generate_series(1, 1000)")
    return run(settings)


LONGEST: Final = 1.5
"""Seconds: by then every step of it has long been due."""


def spared(daemon: Daemon, reason: str) -> bool:
    """Whether the guard has told that it left something alone for that reason."""
    found = daemon.get("/v1/incidents?outcome=spared")["incidents"]
    return any(incident["spared_by"] == reason for incident in found)


@contextmanager
def blocking(database: Database) -> Iterator[Connection]:
    """A transaction beside poolguard that has touched the table."""
    with psycopg.connect(database.url) as other:
        other.execute("update t set a = a where a = 1")
        yield other
        other.rollback()


def run_statement(daemon: Daemon, *statements: str) -> BaseException | None:
    with daemon.connect(autocommit=True) as client:
        try:
            for statement in statements:
                client.execute(statement.encode())
        except psycopg.Error as error:
            return error
    return None


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("create index concurrently i on t (a)", "statement_class"),
        ("alter table t add column b int", "statement_class"),
        ("vacuum full t", "statement_class"),
    ],
)
def test_ddl_and_vacuum_wait_as_long_as_they_must(
    daemon: Daemon, database: Database, statement: str, reason: str
) -> None:
    """Check 5: what costs more than the wait for it is told, and never ended."""
    with ThreadPoolExecutor(1) as threads:
        with blocking(database):
            waiting = threads.submit(run_statement, daemon, statement)
            eventually(lambda: spared(daemon, reason))
            assert not waiting.done()
        assert waiting.result(timeout=10) is None
    if "concurrently" in statement:
        with database.connect() as admin:
            assert admin.execute("select indisvalid from pg_index where indexrelid = 'i'::regclass").fetchone() == (
                True,
            )


def test_whoever_has_lifted_the_timeouts_is_left_alone(daemon: Daemon, database: Database) -> None:
    """As the scripts of pg_dump and pg_restore do."""
    with ThreadPoolExecutor(1) as threads:
        with blocking(database):
            lifted = "set statement_timeout = 0", "set idle_in_transaction_session_timeout = 0"
            waiting = threads.submit(run_statement, daemon, *lifted, "update t set a = a where a = 1")
            eventually(lambda: spared(daemon, "zero_timeout"))
            assert not waiting.done()
        assert waiting.result(timeout=10) is None


@pytest.mark.parametrize("application_name", [None, "nightly"])
def test_a_dump_lasts_as_long_as_it_must(
    daemon: Daemon, database: Database, pg: Server, application_name: str | None
) -> None:
    """Check 5: known by its name, or by the timeouts that it lifts; also while whoever it writes to does not read."""
    with database.connect() as admin:
        admin.execute("create table large as select n, repeat('x', 100) from generate_series(1, 200000) as n")
    named = {"application_name": application_name} if application_name else {}
    command = [pg.program("pg_dump"), "-d", daemon.conninfo("app", **named)]
    with leaked(daemon), Popen(command, stdout=PIPE, stderr=PIPE) as dump:
        old = f"/v1/transactions?application_name={application_name or 'pg_dump'}"
        eventually(lambda: [one for one in daemon.get(old)["transactions"] if one["statement_seconds"] > LONGEST])
        lines, complaints = dump.communicate(timeout=30)
    assert (dump.returncode, complaints) == (0, b"")
    assert lines.count(b"x" * 100) == 200_000
    reason = "zero_timeout" if application_name else "application_name"
    assert daemon.metric("poolguard_policy_spared_total", policy="ruthless", reason=reason) >= 1


@contextmanager
def leaked(daemon: Daemon) -> Iterator[None]:
    """Beside whatever the block does, somebody leaks a transaction: that one is ended."""
    with daemon.connect(application_name="leak") as leak:
        leak.execute("select 1")
        yield
        with pytest.raises(psycopg.Error):
            leak.execute("select 1")
        leak.rollback()


def test_replication_and_autovacuum_go_on(daemon: Daemon, database: Database, pg_control: EmbeddedPostgres) -> None:
    """Check 5: a walsender through poolguard, and beside it a vacuum of PostgreSQL's own."""
    stream = PGconn.connect(daemon.conninfo("app", replication="true", application_name="receiver").encode())
    position = stream.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2)
    assert position is not None
    stream.send_query(b"START_REPLICATION " + position)
    started = stream.get_result()
    assert started is not None
    assert started.status == ExecStatus.COPY_BOTH
    with pg_control.connect(database.name) as admin, vacuumed_soon(pg_control, admin):
        backends = eventually(lambda: at_work(admin), within=20)
        with leaked(daemon):
            eventually(lambda: connected_seconds(daemon, "receiver") > LONGEST)
            eventually(lambda: has_vacuumed(admin, LONGEST))
        assert at_work(admin) == backends
        admin.execute("insert into t values (0)")
        eventually(lambda: received(stream))
    stream.finish()


def test_a_vacuum_of_postgresql_s_own_that_blocks_is_named_and_left(
    run: Run, settings: dict[str, Any], database: Database, pg_control: EmbeddedPostgres
) -> None:
    """Check 5: also where a rule ends whoever blocks, of whatever name."""
    settings["observer"] = {"interval": "1s"}
    anybody = {"name": "anybody", "when": {"user": "*"}, "then": {"cancel": "0s", "terminate": "500ms"}}
    settings["foreign_blockers"] = {"rules": [anybody], "budget": {"cooldown": "0s"}}
    daemon = run(settings)
    with (
        pg_control.connect(database.name) as admin,
        vacuumed_soon(pg_control, admin),
        daemon.connect(autocommit=True) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        worker = eventually(lambda: admin.execute(VACUUM).fetchall(), within=20)
        client.execute("set deadlock_timeout = '1h'")  # else PostgreSQL itself would end the vacuum for us
        waiting = threads.submit(client.execute, "alter table bloated add c int")
        try:
            (tree,) = eventually(lambda: long_waits(daemon), within=20)
            assert (tree["class"], tree["root"]["pid"]) == ("autovacuum", worker[0][0])
            assert admin.execute(VACUUM).fetchall() == worker
            assert daemon.get("/v1/incidents?outcome=done")["incidents"] == []
        finally:
            client.cancel_safe()
        assert isinstance(waiting.exception(timeout=10), psycopg.errors.QueryCanceled)


VACUUM: Final = """
select pid, backend_start from pg_stat_progress_vacuum join pg_stat_activity using (pid) where relid = 'bloated'::regclass
"""


def long_waits(daemon: Daemon) -> list[dict[str, Any]]:
    """Trees in which somebody has waited until every step was long due."""
    return [tree for tree in daemon.get("/v1/locks")["trees"] if tree["longest_seconds"] > 2 * LONGEST]


def received(stream: abc.PGconn) -> bool:
    """Whether anything has come; raises if the stream has ended."""
    stream.consume_input()
    return stream.get_copy_data(1)[0] > 0


@contextmanager
def vacuumed_soon(postgres: EmbeddedPostgres, admin: Connection) -> Iterator[None]:
    """Autovacuum wakes up each second, and takes its time for a table."""
    slow = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    admin.execute(f"create table bloated (a int, b text) with (autovacuum_vacuum_threshold = 0, {slow})".encode())
    admin.execute("insert into bloated select n, repeat('x', 100) from generate_series(1, 20000) as n")
    admin.execute("delete from bloated where a % 2 = 0")
    admin.execute("alter system set autovacuum_naptime = '1s'")
    postgres.reload()
    try:
        yield
    finally:
        admin.execute("alter system reset autovacuum_naptime")
        postgres.reload()


def at_work(admin: Connection) -> list[tuple[Any, ...]]:
    """Walsender and autovacuum, as soon as there are both: who they are, and since when."""
    found = admin.execute(
        "select a.pid, a.backend_start, a.backend_type from pg_stat_activity as a"
        " left join pg_stat_progress_vacuum as v on v.pid = a.pid"
        " where a.backend_type = 'walsender' or v.relid = 'bloated'::regclass order by a.backend_type"
    ).fetchall()
    return found if [kind for _, _, kind in found] == ["autovacuum worker", "walsender"] else []


def has_vacuumed(admin: Connection, seconds: float) -> bool:
    """Whether the vacuum has been at it for so long."""
    age = "select clock_timestamp() - xact_start > make_interval(secs => %s) from pg_stat_activity"
    found = admin.execute(f"{age} join pg_stat_progress_vacuum using (pid)".encode(), [seconds]).fetchall()
    return (True,) in found


def connected_seconds(daemon: Daemon, application_name: str) -> float:
    sessions = daemon.get("/v1/sessions")["sessions"]
    ages: list[float] = [one["connected_seconds"] for one in sessions if one["application_name"] == application_name]
    return max(ages)


def test_a_commit_on_its_way_is_never_cut(daemon: Daemon, pg_control: EmbeddedPostgres) -> None:
    """Check 5: one that waits for a standby: cancelled, it would be kept here and reported as if nothing were wrong."""
    with pg_control.connect() as admin:
        admin.autocommit = True
        admin.execute("alter system set synchronous_standby_names = 'nobody'")
        pg_control.reload()
        try:
            eventually(lambda: admin.execute("show synchronous_standby_names").fetchone() == ("nobody",))
            with ThreadPoolExecutor(1) as threads:
                waiting = threads.submit(run_statement, daemon, "begin", "insert into t values (0)", "commit")
                committing = eventually(lambda: daemon.get("/v1/transactions?state=active")["transactions"])[0]
                eventually(lambda: daemon.get(f"/v1/transactions/{committing['id']}")["state_seconds"] > 1.5)
                assert not waiting.done()
                admin.execute("alter system reset synchronous_standby_names")
                pg_control.reload()
                assert waiting.result(timeout=10) is None
        finally:
            admin.execute("alter system reset synchronous_standby_names")
            pg_control.reload()
    assert daemon.metric("poolguard_policy_actions_total", action="cancel", outcome="done") == 0


def test_a_job_that_was_just_taken_is_not_failed_by_us(daemon: Daemon) -> None:
    with daemon.connect() as worker:
        worker.execute("select a from t order by a limit 1 for update skip locked")
        eventually(lambda: spared(daemon, "job_pop"))
        worker.execute("update t set a = -1 where a = 1")
        worker.commit()


def test_the_sixth_kill_in_a_minute_is_not_done_and_said_loudly(run: Run, settings: dict[str, Any]) -> None:
    """Check 10."""
    settings["policies"]["short"] = {
        "idle_in_transaction": {"rollback": "100ms"},
        "budget": {"kills_per_minute": 5, "max_share_of_pool": 1.0},
    }
    settings["pools"]["app"] |= {"policy": "short", "size": 10}
    daemon = run(settings)
    clients = [daemon.connect() for _ in range(6)]
    barrier = threading.Barrier(6)

    def leak(client: Connection) -> None:
        barrier.wait(10)
        client.execute("select 1")

    try:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(leak, clients))
        withheld = eventually(lambda: daemon.get("/v1/incidents?outcome=budget")["incidents"])
        assert len(withheld) == 1
        assert withheld[0]["kills_left"] == 0
        assert daemon.get("/v1/incidents?outcome=done&action=rollback")["total"] == 5
        assert daemon.pool("app")["held"] == 1
        assert daemon.told(
            "the guard's budget is used up: what is due is left alone until time passes or a person acts"
        )
        assert daemon.metric("poolguard_policy_budget_spent", policy="short") == 1
    finally:
        for client in clients:
            client.close()


def test_a_stalled_copy_is_found_by_checkout_age(run: Run, settings: dict[str, Any], database: Database) -> None:
    settings["policies"]["patient"] = {
        "statement_age": {"cancel": "100ms"},
        "checkout_age": {"terminate": "600ms"},
    }
    with database.connect() as admin:
        admin.execute("create table t (a int)")
    daemon = run(settings)
    with (
        daemon.connect(autocommit=True) as client,
        client.cursor() as cursor,
        pytest.raises(psycopg.OperationalError),
        cursor.copy("copy t from stdin") as copy,
    ):
        copy.write("1\n")
        incident = eventually(lambda: daemon.get("/v1/incidents?action=terminate&outcome=done")["incidents"])[0]
        assert incident["rule"] == "checkout_age"
        copy.write("2\n" * 1_000_000)
    assert spared(daemon, "statement_class")
    assert daemon.metric("poolguard_policy_spared_total", policy="patient", reason="statement_class") == 1
