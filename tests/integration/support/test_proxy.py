"""The proxy breaks a connection as a network would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import psycopg
import pytest

from poolguard.wire.startup import startup_packet
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy, Way, proxy_to


@pytest.fixture
async def way(database: Database) -> AsyncIterator[tuple[Proxy, Database]]:
    async with proxy_to(database) as pair:
        yield pair


async def ask(connection: psycopg.AsyncConnection[tuple[object, ...]], sql: str = "select 1") -> object:
    cursor = await connection.execute(sql)
    row = await cursor.fetchone()
    return row and row[0]


async def test_bytes_pass_both_ways(loop_kind: str, way: tuple[Proxy, Database]) -> None:
    proxy, database = way
    async with await database.connect_async() as connection:
        assert await ask(connection, "select length(repeat('x', 1000000))") == 1_000_000
        assert await ask(connection, "select repeat('x', 1000000)") == "x" * 1_000_000
        assert (proxy.connections, proxy.accepted) == (1, 1)
        assert proxy.passed[Way.FROM_SERVER] > 1_000_000
    await eventually_async(lambda: not proxy.connections)


@pytest.mark.parametrize("silent", list(Way))
async def test_what_was_held_back_comes_once_it_heals(way: tuple[Proxy, Database], silent: Way) -> None:
    proxy, database = way
    async with await database.connect_async() as connection:
        proxy.silence(silent)
        asked = asyncio.create_task(ask(connection, "select 7"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(asked)
        proxy.heal()
        assert await asked == 7


async def test_a_delay_is_that_long(way: tuple[Proxy, Database]) -> None:
    proxy, database = way
    async with await database.connect_async() as connection:
        proxy.delay(0.05)
        began = asyncio.get_running_loop().time()
        await ask(connection)
        assert asyncio.get_running_loop().time() - began >= 0.1


async def test_a_cut_is_a_reset_and_the_next_connection_works(loop_kind: str, way: tuple[Proxy, Database]) -> None:
    proxy, database = way
    connection = await database.connect_async()
    proxy.cut()
    with pytest.raises(psycopg.OperationalError):
        await ask(connection)
    await connection.close()
    async with await database.connect_async() as another:
        assert await ask(another) == 1


async def test_who_is_refused_gets_through_after_it_healed(way: tuple[Proxy, Database]) -> None:
    proxy, database = way
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        await database.connect_async()
    proxy.heal()
    async with await database.connect_async() as connection:
        assert await ask(connection) == 1


@pytest.mark.parametrize("size", [0, 1, 5, 17])
async def test_exactly_so_many_bytes_pass_before_a_cut(loop_kind: str, size: int, way: tuple[Proxy, Database]) -> None:
    proxy, database = way
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await eventually_async(lambda: proxy.connections)
    proxy.cut_after(size, Way.FROM_SERVER)
    writer.write(startup_packet({"user": database.user, "database": database.name}))
    received = b""
    with suppress(ConnectionResetError):
        while data := await reader.read(1000):
            received += data
    assert len(received) == size
    writer.transport.abort()
