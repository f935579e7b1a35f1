"""The applications of the demo, on psycopg: one that forgets its transaction, one that only wants a server."""

import time
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.pq import TransactionStatus

from poolguard.demo.commands import SUPERUSER


def connect(port: int, *, pool: str, application_name: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect to poolguard as an application does; the database's name picks the pool."""
    return psycopg.connect(
        host="127.0.0.1",
        port=port,
        user=SUPERUSER,
        dbname=pool,
        application_name=application_name,
        connect_timeout=10,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error, as the application sees it."""

    sqlstate: str
    message: str

    @classmethod
    def of(cls, error: psycopg.Error) -> "Refusal":
        """Take what matters of *error*."""
        return cls(sqlstate=error.sqlstate or "", message=error.diag.message_primary or str(error))


class Leak:
    """A transaction that is begun, works on one order, and is then forgotten."""

    def __init__(self, port: int, *, pool: str, application_name: str, order: int) -> None:
        self.pool: Final = pool
        self.application_name: Final = application_name
        self.order: Final = order
        self.connection: Final = connect(port, pool=pool, application_name=application_name)
        self.backend_pid = 0

    def begin(self) -> None:
        """Begin and work; whoever called forgets about it now."""
        row = self.connection.execute(
            "UPDATE orders SET state = 'paid' WHERE id = %s RETURNING pg_backend_pid()", [self.order]
        ).fetchone()
        assert row is not None, f"there is no order {self.order}"
        self.backend_pid = int(str(row[0]))

    def next_statement(self) -> Refusal | None:
        """Go on as if nothing had happened; return the error, None for success."""
        try:
            self.connection.execute("SELECT state FROM orders WHERE id = %s", [self.order])
        except psycopg.Error as error:
            return Refusal.of(error)
        return None

    def commit(self) -> Refusal | None:
        """Commit; return the error, None for success."""
        try:
            self.connection.commit()
        except psycopg.Error as error:
            return Refusal.of(error)
        return None

    def lives_on(self) -> bool:
        """ROLLBACK, then whether the very same connection serves again."""
        try:
            self.connection.rollback()
            row = self.connection.execute("SELECT 1").fetchone()
            self.connection.rollback()
        except psycopg.Error:
            return False
        return row == (1,) and self.connection.info.transaction_status is TransactionStatus.IDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What became of somebody who needed a server."""

    seconds: float
    backend_pid: int
    """Of the server that it got; 0 for none."""
    refusal: Refusal | None


def wait_for_a_server(connection: psycopg.Connection[tuple[object, ...]]) -> Wait:
    """Run one short transaction, however long that takes."""
    started = time.monotonic()
    try:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        connection.rollback()
    except psycopg.Error as error:
        return Wait(seconds=time.monotonic() - started, backend_pid=0, refusal=Refusal.of(error))
    assert row is not None, "SELECT without FROM has one row"
    return Wait(seconds=time.monotonic() - started, backend_pid=int(str(row[0])), refusal=None)


def all_servers_of(port: int, *, pool: str, size: int) -> set[int]:
    """Hold *size* servers of *pool* at once and return their backends' pids. Raises psycopg.Error if some lack."""
    connections = [connect(port, pool=pool, application_name="demo-census") for _ in range(size)]
    try:
        pids = set()
        for connection in connections:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None, "SELECT without FROM has one row"
            pids.add(int(str(row[0])))
        return pids
    finally:
        for connection in connections:
            connection.close()
