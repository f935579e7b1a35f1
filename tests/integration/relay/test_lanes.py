"""Lanes on a real PostgreSQL: who is under way there at once, whatever dies, and the deadlocks that there are no more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from poolguard.ledger.entries import Phase
from poolguard.settings.lanes import Lane, LaneMatch
from poolguard.settings.model import Pool
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import Running, running

Connection = psycopg.AsyncConnection[Any]

CLIENTS, ROUNDS = 6, 8

SEEN = """
    UPDATE hot SET n = n + 1, most = greatest(most, (
        SELECT count(backend_xid) FROM pg_stat_activity WHERE query LIKE '%UPDATE hot SET n%'
    )) FROM (SELECT txid_current(), pg_sleep(0.002)) AS slow WHERE id = 1
"""
"""Notes how many of its kind PostgreSQL has under way, itself included.

By their transaction ids: who merely prepares this is in no lane and has none, and who has ended has none any more.
"""


def pools(at_once: int = 1, **more: Any) -> dict[str, Pool]:
    hot = Lane(name="hot", match=LaneMatch(statement="update hot "), at_once=at_once, max_waiting=100, **more)
    return {"app": Pool(size=CLIENTS, lanes=(hot,))}


@asynccontextmanager
async def laned(database: Database, at_once: int = 1, **more: Any) -> AsyncIterator[Running]:
    async with await database.connect_async() as admin:
        await admin.execute("DROP TABLE IF EXISTS hot")
        await admin.execute("CREATE TABLE hot (id int PRIMARY KEY, n int NOT NULL, most int NOT NULL)")
        await admin.execute("INSERT INTO hot VALUES (1, 0, 0), (2, 0, 0)")
    async with running(database, pools(at_once, **more)) as house:
        yield house
        await house.at_rest()
        for lane in house.pool("app").lanes._lanes.values():
            lane.state.check()
            assert (len(lane.state.inside), lane.state.waiting) == (0, 0)
        assert {entry.lane for entry in house.ledger.sessions.values()} <= {""}


async def connect(house: Running, name: str = "shop") -> Connection:
    return await psycopg.AsyncConnection.connect(house.dsn("app", application_name=name), autocommit=True)


async def rows(database: Database) -> list[tuple[Any, ...]]:
    async with await database.connect_async() as admin:
        return await (await admin.execute("SELECT n, most FROM hot ORDER BY id")).fetchall()


async def simple(client: Connection) -> None:
    await psycopg.AsyncClientCursor(client).execute(SEEN)


async def unnamed(client: Connection) -> None:
    await client.execute(SEEN, prepare=False)


async def prepared(client: Connection) -> None:
    await client.execute(SEEN, prepare=True)


async def in_a_transaction(client: Connection) -> None:
    async with client.transaction():
        await client.execute(SEEN)
        await client.execute("SELECT 1")


async def pipelined(client: Connection) -> None:
    """Behind statements of no lane, in batches of their own."""
    async with client.pipeline() as pipeline:
        await client.execute("SELECT 1")
        await pipeline.sync()
        await client.execute(SEEN)
        await pipeline.sync()
        await client.execute("SELECT 2")


WAYS: list[Callable[[Connection], Awaitable[None]]] = [simple, unnamed, prepared, in_a_transaction, pipelined]


@pytest.mark.parametrize("way", WAYS)
async def test_never_more_than_at_once_are_under_way(database: Database, way: Callable[..., Awaitable[None]]) -> None:
    async with laned(database) as house:
        clients = [await connect(house) for _ in range(CLIENTS)]

        async def work(client: Connection) -> None:
            async with client:
                for _ in range(ROUNDS):
                    await way(client)

        await asyncio.gather(*(work(client) for client in clients))
    assert (await rows(database))[0] == (CLIENTS * ROUNDS, 1)


async def test_two_at_once_are_two(database: Database) -> None:
    """And the count would notice a third."""
    async with laned(database, at_once=2) as house:
        clients = [await connect(house) for _ in range(CLIENTS)]

        async def work(client: Connection) -> None:
            async with client:
                for _ in range(ROUNDS):
                    await unnamed(client)

        await asyncio.gather(*(work(client) for client in clients))
    assert (await rows(database))[0] == (CLIENTS * ROUNDS, 2)


async def step(client: Connection, number: int) -> None:
    await client.execute("UPDATE hot SET n = n + 1 WHERE id = %s", [number])


async def test_who_would_meet_in_a_deadlock_waits_outside(database: Database) -> None:
    """supervision 5.7, the deterministic core of the storm: the second transaction has not begun in PostgreSQL."""
    async with (
        laned(database) as house,
        await connect(house, "first") as first,
        await connect(house, "second") as second,
    ):
        await first.execute("BEGIN")
        await step(first, 1)
        await second.execute("BEGIN")
        waits = asyncio.ensure_future(step(second, 2))
        await house.phase("second", Phase.WAITING_IN_LANE)
        assert len(house.holders("app")) == 1
        await step(first, 2)
        await first.execute("COMMIT")
        await waits
        await step(second, 1)
        await second.execute("COMMIT")
    assert [n for n, _ in await rows(database)] == [2, 2]


async def test_a_storm_of_deadlocks_is_over(database: Database) -> None:
    """Three clients, two rows, in opposite order, again and again."""
    async with laned(database) as house:

        async def work(order: tuple[int, int]) -> None:
            async with await connect(house) as client:
                for _ in range(20):
                    async with client.transaction():
                        for number in order:
                            await step(client, number)

        await asyncio.gather(work((1, 2)), work((2, 1)), work((1, 2)))
        assert house.relay.counters.errors_total == {}
    assert [n for n, _ in await rows(database)] == [60, 60]


@asynccontextmanager
async def one_inside(house: Running) -> AsyncIterator[Connection]:
    """A client in the middle of a transaction in the lane."""
    client = await connect(house, "leaker")
    await client.execute("BEGIN")
    await step(client, 1)
    yield client
    await client.close()


async def test_a_holder_whose_connection_breaks_lets_the_next_in(database: Database) -> None:
    async with laned(database) as house, one_inside(house) as holder, await connect(house, "waits") as waiter:
        waits = asyncio.ensure_future(step(waiter, 1))
        await house.phase("waits", Phase.WAITING_IN_LANE)
        await holder.close()
        await waits
    assert (await rows(database))[0][0] == 1


async def test_a_waiter_whose_connection_breaks_is_forgotten(database: Database) -> None:
    async with laned(database) as house, one_inside(house) as holder, await connect(house, "next") as waiter:
        doomed = await connect(house, "doomed")
        asked = asyncio.ensure_future(step(doomed, 2))
        await house.phase("doomed", Phase.WAITING_IN_LANE)
        waits = asyncio.ensure_future(step(waiter, 1))
        await house.phase("next", Phase.WAITING_IN_LANE)
        await doomed.close()
        with pytest.raises(psycopg.OperationalError):
            await asked
        await holder.execute("COMMIT")
        await waits
    assert [n for n, _ in await rows(database)] == [2, 0]


async def test_a_backend_that_is_terminated_lets_the_next_in(database: Database) -> None:
    async with laned(database) as house, one_inside(house) as holder, await connect(house, "waits") as waiter:
        waits = asyncio.ensure_future(step(waiter, 1))
        await house.phase("waits", Phase.WAITING_IN_LANE)
        (held,) = house.holders("app")
        async with await database.connect_async() as admin:
            await admin.execute("SELECT pg_terminate_backend(%s)", [held.backend_pid])
        await waits
        with pytest.raises(psycopg.OperationalError):
            await holder.execute("COMMIT")
    assert (await rows(database))[0][0] == 1


async def test_a_waiter_that_cancels_hears_of_its_own_cancel(database: Database) -> None:
    async with laned(database) as house, one_inside(house) as holder, await connect(house, "waits") as waiter:
        asked = asyncio.ensure_future(step(waiter, 1))
        await house.phase("waits", Phase.WAITING_IN_LANE)
        await waiter.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asked
        assert await (await waiter.execute("SELECT 1")).fetchone() == (1,)
        await holder.execute("COMMIT")


async def test_who_waits_too_long_is_told_who_is_inside(database: Database) -> None:
    async with laned(database, wait=0.05) as house, one_inside(house) as holder, await connect(house) as waiter:
        with pytest.raises(psycopg.errors.TooManyConnections) as raised:
            await step(waiter, 1)
        assert "query_wait_timeout: lane 'hot' of pool 'app'" in str(raised.value)
        assert "inside is leaker at 127.0.0.1" in str(raised.value.diag.message_detail)
        await holder.execute("COMMIT")
        await step(waiter, 1)


async def test_whoever_dies_while_many_come_and_go_no_place_is_lost(database: Database) -> None:
    """Clients that vanish in the lane and inside of it, at moments of their own, among those that stay."""
    async with laned(database, at_once=2) as house:

        async def stays() -> None:
            async with await connect(house) as client:
                for _ in range(15):
                    await step(client, 1)

        async def dies(number: int) -> None:
            client = await connect(house)
            await client.execute("BEGIN")
            asked = asyncio.ensure_future(step(client, 2))
            if number % 2:
                await asked  # inside; else wherever it is
            await client.close()
            await asyncio.gather(asked, return_exceptions=True)

        await asyncio.gather(*(stays() for _ in range(4)), *(dies(number) for number in range(12)))
        await eventually_async(lambda: not house.holders("app"))
    assert [n for n, _ in await rows(database)] == [60, 0]
