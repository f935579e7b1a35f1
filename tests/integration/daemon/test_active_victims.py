"""Check 4: what runs is cancelled before anything is closed, and its locks are gone; closing alone would leave them."""

from typing import Any, Final

import psycopg
import pytest
from psycopg import errors

from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Connection
from tests.support.eventually import eventually

GRACE: Final = "2s"
"""How long a terminated statement has between its cancel and its end."""
STUCK: Final = b"select pg_sleep(600)"


@pytest.fixture
def table(database: Database) -> Database:
    with database.connect() as admin:
        admin.execute("create table t (a int); insert into t values (1)")
    return database


def lock_is_free(admin: Connection, within: str) -> bool:
    """Whether the row can be had *within* that time, which PostgreSQL keeps."""
    admin.execute(f"set lock_timeout = '{within}'".encode())
    try:
        admin.execute("update t set a = 3")
    except errors.LockNotAvailable:
        return False
    return True


@pytest.mark.parametrize("action", ["cancel", "terminate"])
def test_the_locks_of_what_is_ended_are_gone_within_the_grace(
    run: Run, settings: dict[str, Any], table: Database, action: str
) -> None:
    settings["policies"]["patient"] = {"statement_age": {action: "200ms"}}
    daemon = run(settings)
    ended = {"cancel": errors.QueryCanceled, "terminate": errors.TransactionTimeout}[action]
    with daemon.connect() as client, table.connect() as admin:
        client.execute("update t set a = 2")
        with pytest.raises(ended):
            client.execute(STUCK)
        assert lock_is_free(admin, GRACE)
        left = "select from pg_stat_activity where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()"
        eventually(lambda: admin.execute(left.encode()).rowcount == 0)
        assert client.closed == (action == "terminate")


def test_a_goodbye_and_a_closed_socket_leave_statement_and_locks_until_a_cancel_comes(table: Database) -> None:
    """Why a terminate cancels first: a backend that runs a statement reads no socket. PostgreSQL alone, without poolguard."""
    with table.connect() as admin:
        client = psycopg.connect(table.dsn)
        client.execute("update t set a = 2")
        client.pgconn.send_query(STUCK)
        pid, cancel = client.info.backend_pid, client.pgconn.get_cancel()
        runs = "select from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        eventually(lambda: admin.execute(runs, [pid]).rowcount == 1)
        client.pgconn.finish()
        assert not lock_is_free(admin, "300ms")
        assert admin.execute(runs, [pid]).rowcount == 1
        cancel.cancel()
        assert lock_is_free(admin, GRACE)
        client.close()
