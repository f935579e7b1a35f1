"""Clients that leak and clients that wait, through a real driver."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg

from tests.support.daemon import Connection, Daemon
from tests.support.eventually import eventually

LITERAL: Final = "a literal that nobody may see"


@dataclass(frozen=True, slots=True)
class Leak:
    """A transaction that was begun, did something, and was left."""

    client: Connection
    backend_pid: int
    left_at: float
    """Monotonic, right after its last answer came."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a waiter got: the backend that served it, and when (monotonic)."""

    backend_pid: int
    at: float


@contextmanager
def leaks(daemon: Daemon, pool: str, number: int) -> Iterator[list[Leak]]:
    """Leave *number* transactions open; at the end of the block their clients go."""
    with ExitStack() as stack:
        left = []
        for index in range(number):
            client = stack.enter_context(daemon.connect(pool, application_name=f"leaky-{pool}-{index}"))
            row = client.execute(f"SELECT pg_backend_pid(), '{LITERAL}'").fetchone()
            assert row is not None
            left.append(Leak(client, row[0], time.monotonic()))
        yield left
        for leak in left:
            leak.client.close()


def be_served(conninfo: str) -> Served:
    """Run one statement, however long the wait."""
    with psycopg.connect(conninfo, autocommit=True) as client:
        row = client.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return Served(row[0], time.monotonic())


@contextmanager
def waiters(daemon: Daemon, pool: str, number: int) -> Iterator[list["Future[Served]"]]:
    """Let *number* clients wait in *pool*'s queue. What keeps the servers must end before the block does, or in it."""
    with ThreadPoolExecutor(number) as threads:
        waiting = [threads.submit(be_served, daemon.conninfo(pool)) for _ in range(number)]
        eventually(lambda: daemon.pool(pool)["waiting"] == number)
        yield waiting
