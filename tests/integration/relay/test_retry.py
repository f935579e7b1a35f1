"""A deadlock that one autocommit statement lost is healed on a real PostgreSQL, and takes effect exactly once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from poolguard.settings.model import Pool, Retry
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import Running, running

ROUNDS = 3
UPDATE = "UPDATE item SET n = n + 1 WHERE id IN"


async def rounds(
    database: Database, connect: Callable[[Running], Awaitable[Any]], statement: Callable[[Any], Awaitable[None]]
) -> Running:
    """*statement* meets a transaction that holds row 2 and wants row 1, `ROUNDS` times; PostgreSQL refuses it."""
    async with await database.connect_async() as admin:
        await admin.execute("CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL)")
        await admin.execute("INSERT INTO item VALUES (1, 0), (2, 0)")
        await admin.execute(f"ALTER DATABASE {database.name} SET deadlock_timeout = '500ms'".encode())
    async with running(database, {"app": Pool(size=2, retry=Retry())}) as house:
        client = await connect(house)
        done = 0
        while done < ROUNDS:
            async with await database.connect_async() as rival:
                # PostgreSQL looks for a cycle once, so long after a wait has begun; whoever finds it is the victim.
                await rival.execute("SET deadlock_timeout = '3s'")
                await rival.execute("BEGIN")
                await rival.execute("UPDATE item SET n = n WHERE id = 2")
                asked = asyncio.ensure_future(statement(client))
                await eventually_async(lambda: waits(database))
                try:
                    await rival.execute("UPDATE item SET n = n WHERE id = 1")  # now they wait for each other
                except psycopg.errors.DeadlockDetected:  # the machine was too slow: the round counts for nothing
                    await rival.execute("ROLLBACK")
                    await asked
                    await client.execute("UPDATE item SET n = n - 1")
                    continue
                await rival.execute("COMMIT")
                await asked
                done += 1
        await client.close()
        return house


async def waits(database: Database) -> bool:
    async with await database.connect_async() as admin:
        rows = await admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return await rows.fetchone() is not None


async def by_psycopg(house: Running) -> Any:
    return await psycopg.AsyncConnection.connect(house.dsn("app"), autocommit=True)


async def by_asyncpg(house: Running) -> Any:
    client = await asyncpg.connect(host="127.0.0.1", port=house.port, user="postgres", database="app")
    await client.execute(f"{UPDATE} ($1, $2)", 0, 0)  # the first time it prepares and runs before one and the same Sync
    return client


async def unnamed(client: Any) -> None:
    await client.execute(f"{UPDATE} (1, 2)", prepare=False)


async def prepared(client: Any) -> None:
    await client.execute(f"{UPDATE} (1, 2)", prepare=True)


async def prepared_by_asyncpg(client: Any) -> None:
    """It says Bind, Execute, Sync of a name, as pgx and Prisma do."""
    await client.execute(f"{UPDATE} ($1, $2)", 1, 2)


@pytest.mark.parametrize(
    ("connect", "statement"),
    [(by_psycopg, unnamed), (by_psycopg, prepared), (by_asyncpg, prepared_by_asyncpg)],
    ids=["unnamed", "prepared", "asyncpg"],
)
async def test_an_update_that_lost_a_deadlock_is_done_exactly_once(
    database: Database, connect: Callable[[Running], Awaitable[Any]], statement: Callable[[Any], Awaitable[None]]
) -> None:
    """Check 11."""
    house = await rounds(database, connect, statement)
    async with await database.connect_async() as admin:
        rows = await (await admin.execute("SELECT n FROM item ORDER BY id")).fetchall()
    assert rows == [(ROUNDS,), (ROUNDS,)]
    counted = {outcome: number for (_, code, outcome), number in house.relay.counters.retries_total.items()}
    assert counted["healed"] == ROUNDS
    assert counted["retried"] >= ROUNDS
    assert "given_up" not in counted
