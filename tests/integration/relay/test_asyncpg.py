"""asyncpg, unchanged, in both modes."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Running]:
    """Two servers a pool, so that a session meets both."""
    async with running(database, both_modes(2)) as started:
        yield started


@asynccontextmanager
async def client_of(relay: Running, mode: str, **options: object) -> AsyncIterator[Any]:  # asyncpg has no types
    client = await asyncpg.connect(host="127.0.0.1", port=relay.port, user="postgres", database=mode, **options)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("mode", MODES)
async def test_statements_and_its_cache(mode: str, small: Running) -> None:
    """Beyond the cache's bound, so that statements are closed; with a second client, so that servers change."""
    async with (
        client_of(small, mode, statement_cache_size=3) as one,
        client_of(small, mode, statement_cache_size=3) as two,
    ):
        for number in range(40):
            for client, offset in ((one, 0), (two, 1000)):
                statement = f"select $1::int + {number % 5}, {offset}"
                assert tuple(await client.fetchrow(statement, number)) == (number + number % 5, offset)
        prepared = await one.prepare("select $1::text")
        for number in range(10):
            assert await two.fetchval("select $1::text", "two") == "two"
            assert await prepared.fetchval(str(number)) == str(number)


@pytest.mark.parametrize("mode", MODES)
async def test_a_changed_table_heals(mode: str, small: Running) -> None:
    """P12: asyncpg prepares again by itself outside of a transaction."""
    async with client_of(small, mode) as client:
        await client.execute("create table t (a int); insert into t values (1)")
        assert await client.fetch("select * from t") == [(1,)]
        await client.execute("alter table t add column b int")
        for _ in range(2):
            assert await client.fetch("select * from t") == [(1, None)]


async def within(transaction: AbstractAsyncContextManager[None], client: Any, *statements: str) -> None:
    """Run *statements* in a transaction."""
    async with transaction:
        for statement in statements:
            await client.execute(statement)


@pytest.mark.parametrize("mode", MODES)
async def test_transactions(mode: str, small: Running) -> None:
    async with client_of(small, mode) as client:
        await client.execute("create table t (a int)")
        async with client.transaction(isolation="repeatable_read"):
            await client.execute("insert into t values ($1)", 1)
            with pytest.raises(asyncpg.DivisionByZeroError):
                await within(client.transaction(), client, "insert into t values (2)", "select 1/0")
            await client.execute("insert into t values (3)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await within(client.transaction(deferrable=True), client, "insert into t values (4)", "table nowhere")
        async with client.transaction():
            pass
        await client.executemany("insert into t values ($1)", [(number,) for number in range(10, 110)])
        assert await client.fetchval("select count(*) from t") == 102


@pytest.mark.parametrize("mode", MODES)
async def test_cursor(mode: str, small: Running) -> None:
    """Portals in parts, over many round trips in a transaction."""
    async with client_of(small, mode) as client, client.transaction():
        rows = [row[0] async for row in client.cursor("select generate_series(1, 1000)", prefetch=70)]
        assert rows == list(range(1, 1001))
        cursor = await client.cursor("select generate_series(1, 10)")
        assert [row[0] for row in await cursor.fetch(4)] == [1, 2, 3, 4]
        assert await cursor.forward(3) == 3
        assert [row[0] for row in await cursor.fetch(9)] == [8, 9, 10]


@pytest.mark.parametrize("mode", MODES)
async def test_copy(mode: str, small: Running) -> None:
    async with client_of(small, mode) as client:
        await client.execute("create table t (a int, b text)")
        records = [(number, "x" * 200) for number in range(5000)]
        await client.copy_records_to_table("t", records=records)
        out = io.BytesIO()
        await client.copy_from_query("select a from t where a < $1 order by a", 100, output=out)
        assert out.getvalue().split() == [b"%d" % number for number in range(100)]
        with pytest.raises(asyncpg.BadCopyFileFormatError):
            await client.copy_to_table("t", source=io.BytesIO(b"1\t2\t3\n" * 10_000))
        assert await client.fetchval("select count(*) from t") == 5000


async def test_its_pool_on_few_servers(database: Database) -> None:
    """asyncpg's own pool, which resets with several statements; 20 connections on 3 servers."""
    async with running(database, both_modes(3)) as relay:
        pool = await asyncpg.create_pool(
            host="127.0.0.1", port=relay.port, user="postgres", database=TRANSACTION, min_size=20, max_size=20
        )
        await pool.execute("create table t (who int, n int)")

        async def work(who: int) -> None:
            for number in range(5):
                async with pool.acquire() as client, client.transaction():
                    await client.execute("insert into t values ($1, $2)", who, number)
                    assert await client.fetchval("select count(*) from t where who = $1", who) == number + 1

        await asyncio.gather(*(work(who) for who in range(40)))
        assert await pool.fetchval("select count(*) from t") == 200
        await pool.close()
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
async def test_listen(mode: str, small: Running) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with client_of(small, mode) as client, client_of(small, mode) as other:
        await client.add_listener("c", lambda *event: told.put_nowait(event[3]))
        await other.execute("select pg_notify('c', 'hello')")
        assert await asyncio.wait_for(told.get(), 5) == "hello"
