"""An elector as applications have it without poolguard: SQL on a connection from the application's own pool.

As the River job queue does it: one row, five seconds for each attempt, elected for a time to live, elected again while
it lasts. What it needs is one connection for a millisecond; what it gets is a place behind the application's leaks.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

TTL: Final = 15.0
ATTEMPT_SECONDS: Final = 5.0

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS shared_elector (name text PRIMARY KEY, leader text NOT NULL, expires_at timestamptz NOT NULL)
"""
_ELECT: Final = """
WITH gone AS (DELETE FROM shared_elector WHERE expires_at < now())
INSERT INTO shared_elector (name, leader, expires_at) VALUES ('default', 'me', now() + make_interval(secs => %(ttl)s))
ON CONFLICT (name) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""

Pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]


class SharedElector(threading.Thread):
    """Stands for election through *pool*, which the application uses too."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(name="shared elector", daemon=True)
        self.attempts = 0
        self.failed = 0
        self.elected_until = 0.0
        """On the monotonic clock."""
        self._pool: Final = pool
        self._ended: Final = threading.Event()

    def run(self) -> None:
        """The thread: as often as three times a term."""
        while not self._ended.is_set():
            began = time.monotonic()
            self.attempts += 1
            try:
                with self._pool.connection(timeout=ATTEMPT_SECONDS) as connection:
                    connection.execute(_ELECT, {"ttl": TTL})
                self.elected_until = began + TTL
            except (PoolTimeout, psycopg.Error):
                self.failed += 1
            self._ended.wait(max(0.0, began + ATTEMPT_SECONDS - time.monotonic()))

    @property
    def leads(self) -> bool:
        """Whether its last election still lasts."""
        return time.monotonic() < self.elected_until

    def end(self) -> None:
        """Stop."""
        self._ended.set()


@contextmanager
def elector_in_a_pool(url: str, size: int) -> Iterator[tuple[SharedElector, Pool]]:
    """An elector that leads, and the pool of *size* that it shares."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(_TABLE)
    pool: Pool = ConnectionPool(url, min_size=1, max_size=size, open=True)
    elector = SharedElector(pool)
    elector.start()
    try:
        yield elector, pool
    finally:
        elector.end()
        elector.join(ATTEMPT_SECONDS * 2)
        pool.close()


@contextmanager
def leaking(pool: Pool, size: int) -> Iterator[None]:
    """Take every connection of *pool* into a transaction that nobody ends."""
    taken = [pool.getconn(timeout=30) for _ in range(size)]
    for connection in taken:
        connection.execute("SELECT 1")
    try:
        yield
    finally:
        for connection in taken:
            connection.rollback()
            pool.putconn(connection)
