"""Large rows, hostile lengths, unknown messages."""

import struct
from hashlib import sha256

import pytest

from poolguard.settings.model import Limits
from tests.integration.relay.raw import (
    FLUSH,
    SYNC,
    Raw,
    connected,
    query,
    rows,
    run,
    tags,
)
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running

ROW = 50 * 1024 * 1024
BUFFER = 4 * 1024 * 1024
"""Far less than a row: what may wait in poolguard for a client that does not read."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extended", [False, True])
async def test_a_row_of_50_mb_flows_through(mode: str, extended: bool, relay: Running) -> None:
    """L2: it comes whole, and poolguard never has more than a part of it, even while the client does not read."""
    text = f"select repeat('0123456789', {ROW // 10})"
    async with connected(relay.port, mode) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a _SelectorTransport or uvloop's
        client.send(run(text) + SYNC if extended else query(text))
        (session,) = relay.relay._sessions.values()
        await eventually_async(lambda: session.congested)
        assert session.transport.get_write_buffer_size() < BUFFER
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        received = await client.until()
        ((row,),) = rows(received)
        assert row is not None
        assert sha256(row.encode()).digest() == sha256(b"0123456789" * (ROW // 10)).digest()
        assert tags(await client.ask(query("select 1"))) == "TDC ZI"
    await relay.at_rest(sessions=0)


def header(tag: bytes, length: int) -> bytes:
    """The five bytes that begin a message."""
    return tag + struct.pack("!I", length & 0xFFFFFFFF)


@pytest.mark.parametrize("tag", [b"Q", b"P", b"B", b"S", b"d"])
@pytest.mark.parametrize("length", [-1, 0, 3, 2**31 - 1, 2**30, 2**20])
@pytest.mark.parametrize("holding", [False, True])
async def test_a_length_that_is_out_of_bounds_ends_the_session(
    length: int, tag: bytes, holding: bool, database: Database
) -> None:
    """L7: 08P01 before anything is kept, and the server goes on to serve."""
    async with running(database, both_modes(1), limits=Limits(message_bytes=2**20 - 1)) as relay:
        async with connected(relay.port, TRANSACTION) as client:
            if holding:
                await client.ask(query("begin; select 1"))
            client.send(header(tag, length))
            told = await client.until_closed()
            assert [received.sqlstate for received in told] == ["08P01"]
        async with connected(relay.port, TRANSACTION) as client:
            assert tags(await client.ask(query("select 1"))) == "TDC ZI"
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tag", [b"Z", b"T", b"R", b"K", b"1", b"\0", b"\xff", b"W", b"v"])
async def test_a_message_that_no_client_sends_ends_the_session(tag: bytes, mode: str, relay: Running) -> None:
    """L8: FATAL 08P01, as PostgreSQL says."""
    for before in (b"", query("begin; select 1"), run("select 1") + FLUSH):
        async with connected(relay.port, mode) as client:
            if before:
                client.send(before)
                await client.until("C")
                await client.until("CZ") if before[:1] == b"Q" else None
            client.send(header(tag, 4))
            (told,) = [received for received in await client.until_closed() if received.tag == "E"]
            assert (told.fields["S"], told.sqlstate) == ("FATAL", "08P01")
    await relay.at_rest(sessions=0)


async def test_a_message_that_comes_in_half_is_never_forwarded(relay: Running) -> None:
    """X19: the client dies with half of a message sent; its server is clean, and was never touched by it."""
    half = query("insert into t values (1)" + " " * 1000)[:500]
    async with connected(relay.port, TRANSACTION) as watcher:
        await watcher.ask(query("create table t (a int)"))
        for before in (b"", query("begin; select 1")):
            raw = await Raw.dial(relay.port)
            await raw.log_in({"user": "postgres", "database": TRANSACTION})
            if before:
                await raw.ask(before)
            raw.send(half)
            await raw.writer.drain()
            raw.reset()
        await relay.at_rest(sessions=1)
        assert rows(await watcher.ask(query("select count(*) from t"))) == [("0",)]
