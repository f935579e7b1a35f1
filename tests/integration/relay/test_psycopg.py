"""psycopg 3, unchanged, in both modes: blocking and asynchronous."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import cast

import psycopg
import pytest

from tests.support.cluster import Database
from tests.support.running import MODES, Running, both_modes, running


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Running]:
    """Two servers a pool, so that a session meets both."""
    async with running(database, both_modes(2)) as started:
        yield started


async def connect(
    relay: Running, mode: str, *, autocommit: bool = False
) -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(relay.dsn(mode), autocommit=autocommit)


@pytest.mark.parametrize("mode", MODES)
async def test_blocking(mode: str, small: Running) -> None:
    """Transactions, errors, savepoints, COPY, from a thread."""

    def work() -> None:
        with psycopg.connect(small.dsn(mode)) as connection:
            connection.execute("create table t (a int, b text)")
            connection.execute("insert into t values (%s, %s)", [1, "eins"])
            with connection.transaction(force_rollback=True):
                connection.execute("insert into t values (2, 'zwei')")
            with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                connection.execute("select 1/0")
            connection.commit()
            with connection.cursor().copy("copy t from stdin") as copy:
                for number in range(1000):
                    copy.write_row((number, "x" * 100))
            with connection.cursor().copy("copy t to stdout") as copy:
                assert sum(1 for _ in copy.rows()) == 1001
            connection.rollback()
            assert connection.execute("select a, b from t").fetchall() == [(1, "eins")]

    await asyncio.to_thread(work)
    await small.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
async def test_prepared_beyond_the_threshold(mode: str, small: Running) -> None:
    """After five runs psycopg prepares; two clients, so that servers change; then DDL, and DEALLOCATE by eviction."""
    async with await connect(small, mode, autocommit=True) as one, await connect(small, mode, autocommit=True) as two:
        one.prepare_threshold = two.prepare_threshold = 2
        one.prepared_max = two.prepared_max = 3
        await one.execute("create table t (a int)")
        for number in range(40):
            for client, offset in ((one, 0), (two, 1000)):
                kind = number % 5
                statement = f"select %s::int + {kind}, {offset}"
                assert await (await client.execute(statement, [number])).fetchone() == (number + kind, offset)
                if number % 7 == 0:
                    async with client.transaction():
                        await client.execute("insert into t values (%s)", [number])
        assert await (await one.execute("select count(*) from t")).fetchone() == (12,)


@pytest.mark.parametrize("mode", MODES)
async def test_pipeline(mode: str, small: Running) -> None:
    """Results in order; an error in the middle spares what was synced before it."""
    async with await connect(small, mode, autocommit=True) as client:
        await client.execute("create table t (a int)")
        async with client.pipeline() as pipeline:
            cursors = [await client.execute("insert into t values (%s) returning a", [n]) for n in range(100)]
            await pipeline.sync()
            assert [await cursor.fetchone() for cursor in cursors] == [(n,) for n in range(100)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fail_in_a_pipeline(client)
        assert await (await client.execute("select a from t where a >= 1000")).fetchall() == [(1000,)]
        async with client.pipeline(), client.transaction():
            for number in range(10):
                await client.execute("insert into t values (%s)", [2000 + number])
        assert await (await client.execute("select count(*) from t where a >= 2000")).fetchone() == (10,)


async def fail_in_a_pipeline(client: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """1000 is synced; 1001 and 1002 share their batch with an error."""
    async with client.pipeline() as pipeline:
        await client.execute("insert into t values (1000)")
        await pipeline.sync()
        await client.execute("insert into t values (1001)")
        await client.execute("select 1/0")
        await client.execute("insert into t values (1002)")
        await pipeline.sync()


async def copy_lines(client: psycopg.AsyncConnection[tuple[object, ...]], lines: Iterable[object]) -> None:
    async with client.cursor().copy("copy t from stdin") as copy:
        for line in lines:
            await copy.write(cast("str", line))


@pytest.mark.parametrize("mode", MODES)
async def test_copy(mode: str, small: Running) -> None:
    """Both ways, in text and in binary; an error in the middle; one that the client gives up."""
    async with await connect(small, mode) as client:
        await client.execute("create table t (a int, b text)")
        async with client.cursor().copy("copy t from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for number in range(5000):
                await copy.write_row((number, "x" * 200))
        await client.commit()
        async with client.cursor().copy("copy t to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            assert sum([row[0] async for row in copy.rows()]) == sum(range(5000))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await copy_lines(client, (f"{number if number != 2500 else 'x'}\ty\n" for number in range(5000)))
        await client.rollback()
        with pytest.raises(TypeError):  # psycopg sends CopyFail
            await copy_lines(client, ["1\ty\n", 2])
        await client.rollback()
        assert await (await client.execute("select count(*) from t")).fetchone() == (5000,)


@pytest.mark.parametrize("mode", MODES)
async def test_cursors_of_the_server(mode: str, small: Running) -> None:
    async with await connect(small, mode) as client, client.cursor("c") as cursor:
        await cursor.execute("select generate_series(1, 1000)")
        cursor.itersize = 100
        assert [row[0] async for row in cursor] == list(range(1, 1001))
    async with await connect(small, mode) as client, client.cursor("h", withhold=True) as cursor:
        await cursor.execute("select generate_series(1, 10)")
        await client.commit()
        assert await cursor.fetchall() == [(number,) for number in range(1, 11)]
        await cursor.close()


@pytest.mark.parametrize("mode", MODES)
async def test_many_clients_on_few_servers(mode: str, database: Database) -> None:
    """Each adds to a row of its own, in transactions; nobody's is lost, nobody sees another's."""
    clients, rounds = (30, 10) if mode == MODES[0] else (4, 10)
    async with running(database, both_modes(4)) as relay:
        async with await connect(relay, mode, autocommit=True) as admin:
            await admin.execute("create table t (who int primary key, n int)")
            await admin.execute("insert into t select g, 0 from generate_series(1, %s) g", [clients])

        async def work(who: int) -> None:
            async with await connect(relay, mode) as client:
                for number in range(rounds):
                    await client.execute("update t set n = n + 1 where who = %s", [who])
                    cursor = await client.execute("select who, n from t where who = %s", [who])
                    assert await cursor.fetchone() == (who, number + 1)
                    await client.commit()

        await asyncio.gather(*(work(who) for who in range(1, clients + 1)))
        async with await connect(relay, mode) as client:
            assert await (await client.execute("select distinct n from t")).fetchall() == [(rounds,)]
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
async def test_an_error_of_postgresql_keeps_its_fields(mode: str, small: Running) -> None:
    async with await connect(small, mode, autocommit=True) as client:
        await client.execute("create table u (a int primary key)")
        await client.execute("insert into u values (1)")
        with pytest.raises(psycopg.errors.UniqueViolation) as failed:
            await client.execute("insert into u values (1)")
        diagnostics = failed.value.diag
        assert (diagnostics.table_name, diagnostics.constraint_name) == ("u", "u_pkey")
        assert diagnostics.message_detail == "Key (a)=(1) already exists."


@pytest.mark.parametrize("mode", MODES)
async def test_notices_and_notifications(mode: str, small: Running) -> None:
    """A2, A1: while the client is idle, too."""
    async with await connect(small, mode, autocommit=True) as client:
        notices: list[str | None] = []
        client.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        await client.execute("do $$ begin raise notice 'look'; end $$")
        assert notices == ["look"]
        await client.execute("listen c")
        async with await connect(small, mode, autocommit=True) as other:
            await other.execute("notify c, 'from another'")
        await client.execute("notify c, 'from itself'")
        told = [notification.payload async for notification in client.notifies(timeout=5, stop_after=2)]
        assert told == ["from another", "from itself"]
