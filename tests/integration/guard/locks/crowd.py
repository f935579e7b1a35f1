"""Connections to a real PostgreSQL, and statements of theirs that wait for each other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import Any

import psycopg

from poolguard.guard.locks.observer import Observer
from poolguard.ledger.facts import Transaction
from tests.support.cluster import Database
from tests.support.eventually import eventually_async

UPDATE = "UPDATE item SET n = n + 1 WHERE id = 1"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class Crowd:
    """Connections, and statements of theirs that wait."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connections: list[Connection] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def join(self, *statements: str) -> Connection:
        connection = await self.database.connect_async()
        self.connections.append(connection)
        for sql in statements:
            await connection.execute(sql.encode())
        return connection

    async def stuck(self, sql: str, *before: str) -> int:
        """Start a statement that waits for a lock; the pid that does."""
        connection = await self.join(*before)
        self.tasks.append(asyncio.create_task(quietly(connection.execute(sql.encode()))))
        return connection.info.backend_pid

    async def leave(self) -> None:
        for connection in self.connections:
            await connection.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def quietly(statement: Awaitable[Any]) -> None:
    with contextlib.suppress(psycopg.Error):
        await statement


def nobody(now: float) -> Sequence[Transaction]:
    return ()


async def seen(observer: Observer, waiters: int) -> Observer:
    async def look() -> bool:
        await observer.look()
        return observer.state.graph.waiters == waiters

    # A dear collection is followed by a pause of 40 times as long, on a busy machine too.
    await eventually_async(look, within=30)
    return observer
