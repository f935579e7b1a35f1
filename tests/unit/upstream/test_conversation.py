"""A connection that is read only when asked, on both loops."""

import asyncio
import socket

import pytest

from poolguard.core.errors import UpstreamUnavailable
from poolguard.upstream.conversation import Conversation


async def connected() -> tuple[Conversation, socket.socket]:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    other.setblocking(False)
    return await Conversation.over(mine), other


async def test_nothing_is_read_before_somebody_asks(loop_kind: str) -> None:
    conversation, other = await connected()
    with other:
        other.send(b"one")
        assert not conversation.transport.is_reading()
        assert await conversation.receive() == b"one"
        assert not conversation.transport.is_reading()
        assert not conversation.unread
        conversation.abort()


async def test_what_comes_after_goes_to_the_next_owner(loop_kind: str) -> None:
    class Owner(asyncio.Protocol):
        def __init__(self) -> None:
            self.got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.got.set_result(data)

    conversation, other = await connected()
    with other:
        other.send(b"for us")
        assert await conversation.receive() == b"for us"
        other.send(b"for the owner")
        owner = Owner()
        conversation.transport.set_protocol(owner)
        conversation.transport.resume_reading()
        assert await owner.got == b"for the owner"
        conversation.transport.abort()


async def test_the_other_ends_close_is_an_error_for_who_reads(loop_kind: str) -> None:
    conversation, other = await connected()
    other.send(b"last")
    other.close()
    assert await conversation.receive() == b"last"
    with pytest.raises(UpstreamUnavailable, match="closed the connection"):
        await conversation.receive()
    with pytest.raises(UpstreamUnavailable, match="closed the connection"):
        await conversation.receive()


async def test_waiting_for_the_close_drops_what_comes(loop_kind: str) -> None:
    conversation, other = await connected()
    other.send(b"noise")
    other.close()
    await conversation.closed()
    await conversation.closed()


async def test_a_cancelled_read_loses_no_byte(loop_kind: str) -> None:
    """Wire case X21."""
    conversation, other = await connected()
    with other:
        reading = asyncio.ensure_future(conversation.receive())
        await asyncio.sleep(0)
        assert conversation.transport.is_reading()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        other.send(b"data")
        assert await conversation.receive() == b"data"
        conversation.abort()


async def test_an_aborted_connection_is_closed_for_the_other_end(loop_kind: str) -> None:
    conversation, other = await connected()
    with other:
        conversation.abort()
        conversation.abort()
        assert await asyncio.get_running_loop().sock_recv(other, 1) == b""
