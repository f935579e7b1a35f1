"""The connection of a listening server."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from poolguard.relay import listening_server as module
from poolguard.relay.listening_server import ListeningServer, quoted
from poolguard.upstream.link import Link
from poolguard.wire import messages
from tests.support.eventually import eventually_async
from tests.support.relaying import FakeTransport

IDLE = messages.READY[b"I"[0]]
A = messages.message(b"A", b"\0\0\0\7a\0x\0")


class Heard:
    """What a listening server tells."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.bodies: list[bytes] = []
        self.lost = 0
        self.done: list[bool] = []
        self.server = ListeningServer(
            cast("Link", SimpleNamespace(transport=self.transport)), self.bodies.extend, self._ended
        )

    def _ended(self) -> None:
        self.lost += 1


async def test_answers_are_told_in_turn() -> None:
    heard = Heard()
    heard.server.ask(b"LISTEN a", heard.done.append)
    heard.server.ask(b"LISTEN b", heard.done.append)
    assert heard.transport.written == messages.query("LISTEN a") + messages.query("LISTEN b")
    heard.server.data_received(messages.error_response("42601", "no") + IDLE)
    heard.server.data_received(messages.command_complete("LISTEN") + IDLE)
    assert heard.done == [False, True]


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_notifications_are_heard_however_they_are_cut(size: int) -> None:
    """L1."""
    heard = Heard()
    data = A + messages.notice_response("00000", "x") + A
    for at in range(0, len(data), size):
        heard.server.data_received(data[at : at + size])
    assert heard.bodies == [A[5:], A[5:]]


async def test_one_that_does_not_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    heard = Heard()
    heard.server.ask(b"LISTEN a", heard.done.append)
    await eventually_async(lambda: heard.lost)
    assert heard.transport.aborted
    assert heard.done == []


async def test_one_that_is_closed_says_goodbye_and_is_not_lost() -> None:
    heard = Heard()
    heard.server.close()
    await asyncio.sleep(0)
    assert heard.transport.written == messages.TERMINATE
    assert heard.lost == 0


async def test_reading_stops_and_goes_on() -> None:
    heard = Heard()
    heard.server.listen_on(False)
    assert heard.transport.paused
    heard.server.listen_on(True)
    assert not heard.transport.paused


def test_a_channel_is_quoted() -> None:
    assert quoted(b'a"b') == b'"a""b"'
