"""Clients that want none of the pools."""

from collections.abc import AsyncIterator

import pytest

from poolguard.relay.visitors import NoConsole, Visitor
from poolguard.settings.model import Limits
from poolguard.wire.startup import Startup, startup_packet
from tests.support.console import asked
from tests.support.relaying import FakeTransport
from tests.support.speech import query
from tests.unit.relay.test_relay import Entrance


class Guestbook:
    """Takes in whoever asks for the database `book`."""

    def __init__(self) -> None:
        self.visitors: list[Visitor] = []

    def wanted(self, asked: Startup) -> bool:
        return asked.database == "book"

    def visit(self, visitor: Visitor) -> None:
        self.visitors.append(visitor)


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    entrance = Entrance(Limits(max_clients=1))
    yield entrance
    await entrance.relay.stop()


async def test_a_visitor_is_handed_over_and_is_no_session(entrance: Entrance) -> None:
    """F3: it is in no list of sessions, and doesn't count towards limits.max_clients."""
    book = entrance.relay.console = Guestbook()
    hello = startup_packet({"user": "ops", "database": "book"}) + query("SHOW POOLS")
    for _ in range(3):
        entrance.comes(hello)
    while len(book.visitors) < 3:
        await entrance.clock.advance(0.0)
    assert [(one.asked.user, one.early, one.address) for one in book.visitors] == [
        ("ops", query("SHOW POOLS"), "unix")
    ] * 3
    assert len({one.number for one in book.visitors}) == 3
    assert not entrance.ledger.sessions
    assert not entrance.refused
    assert not entrance.failures


def test_without_a_console_nobody_is_a_visitor() -> None:
    console = NoConsole()
    assert not console.wanted(asked())
    with pytest.raises(AssertionError):
        console.visit(Visitor(FakeTransport(), asked(), 1, "unix"))
