"""LISTEN on its way, and what a session is told."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import cast

import pytest

from poolguard.ledger.entries import Phase
from poolguard.relay import listening
from poolguard.relay.listener import Hearer, Listener
from poolguard.relay.notifications import Subscriptions
from poolguard.wire import messages
from tests.support.relaying import Client, House, tags
from tests.support.speech import FLUSH, SYNC, bind, describe, execute, parse, query

TOLD = messages.message(b"A", b"\0\0\0\7a\0x\0")


class Listens:
    """A listener that hears what the test says."""

    def __init__(self) -> None:
        self.book: Subscriptions[Hearer] = Subscriptions()
        self.ready = True
        self.deaf: set[bytes] = set()
        self.then: Callable[[bool], None] | None = None
        self.settled = 0

    def require(self, channels: tuple[bytes, ...], then: Callable[[bool], None]) -> bool:
        self.then = then
        return self.deaf.isdisjoint(channels)

    def mark(self, number: int) -> bytes:
        return b"MARK %d" % number

    def settle(self, hearer: Hearer) -> None:
        self.settled += 1

    def leave(self, hearer: Hearer) -> None:
        self.book.leave(hearer)


@pytest.fixture
def listens() -> Listens:
    return Listens()


@pytest.fixture
async def house(listens: Listens) -> AsyncIterator[House]:
    house = House()
    house.around = replace(house.around, listener_of=lambda _: cast("Listener", listens))
    yield house
    house.check()
    await house.close()


async def subscribed(house: House, listens: Listens, **parameters: str) -> Client:
    """A client that hears `a`."""
    client = house.client(**parameters)
    await client.ask(query("LISTEN a"))
    listens.book.happened(listens.book.number() - 1)
    return client


def hearer_of(client: Client) -> listening.Subscriber:
    assert client.session.subscriber is not None
    return client.session.subscriber


@pytest.mark.parametrize("sent", [query("LISTEN a"), parse("LISTEN a") + bind() + describe() + execute() + SYNC])
async def test_listen_runs_is_taken_back_and_marked_in_one_transaction(
    house: House, listens: Listens, sent: bytes
) -> None:
    """A1: the client sees the answers to its own messages only, and holds nothing afterwards."""
    client = house.client()
    assert tags(await client.ask(sent)) in ("CZi", "12nCZi")
    assert house.postgres.ran == ["LISTEN a", 'UNLISTEN "a"', "MARK 1"]
    assert not house.postgres.listens
    assert listens.settled == 1
    assert client.session.pin == ""
    house.check_at_rest()


async def test_listen_waits_until_the_listening_server_hears(house: House, listens: Listens) -> None:
    """A1: what the client says behind it waits too; in a transaction with its server, else without one."""
    client = house.client()
    listens.deaf.add(b"a")
    assert tags(await client.ask(query("SELECT x") + query("LISTEN a") + query("SELECT y"))) == "TDCZi"
    assert house.ledger.holders == {}
    assert tags(await client.ask(query("SELECT z"))) == ""
    listens.deaf.clear()
    assert listens.then is not None
    before = len(client.heard)
    listens.then(True)
    await house.rest()
    assert tags(client.heard[before:]) == "CZiTDCZiTDCZi"


@pytest.mark.parametrize("sent", [query("LISTEN a"), parse("LISTEN a", "l") + bind("l") + execute() + SYNC])
async def test_without_a_listening_server_it_listens_itself(house: House, listens: Listens, sent: bytes) -> None:
    """A1: and is pinned, as in mode `session`."""
    client = house.client()
    listens.deaf.add(b"a")
    await client.ask(sent)
    assert listens.then is not None
    listens.then(False)
    await house.rest()
    assert house.postgres.listens == {"A"}
    assert client.session.entry.phase is Phase.PINNED


async def test_a_bind_without_its_execute_keeps_the_server(house: House) -> None:
    """A1."""
    client = house.client()
    await client.ask(parse("LISTEN a") + bind() + FLUSH)
    await client.ask(execute() + SYNC)
    assert house.postgres.listens == {"A"}
    assert client.session.entry.phase is Phase.PINNED


async def test_too_many_channels_cost_a_server(house: House, listens: Listens, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: a bound on what one client can make poolguard keep."""
    monkeypatch.setattr(listening, "MOST_CHANNELS", 1)
    client = await subscribed(house, listens)
    await client.ask(query("LISTEN b"))
    assert house.postgres.listens == {"B"}


async def test_a_change_that_postgresql_refuses_is_void(house: House, listens: Listens) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("FAIL"))
    await client.ask(query("LISTEN a"))
    await client.ask(query("ROLLBACK"))
    assert listens.book.empty


async def test_unlisten_of_nothing_is_left_as_it_is(house: House) -> None:
    """A1: also on a standby, where a mark would fail."""
    client = house.client()
    await client.ask(query("UNLISTEN *"))
    assert house.postgres.ran == ["UNLISTEN *"]


async def test_a_client_at_rest_is_told_at_once(house: House, listens: Listens) -> None:
    client = await subscribed(house, listens)
    before = len(client.heard)
    assert hearer_of(client).tell(7, TOLD)
    assert client.heard[before:] == TOLD


@pytest.mark.parametrize(("begin", "end"), [("BEGIN", "COMMIT"), ("BEGIN;SELECT 1", "ROLLBACK")])
async def test_in_a_transaction_it_is_told_at_the_end(house: House, listens: Listens, begin: str, end: str) -> None:
    """A1: a BEGIN that PostgreSQL has not seen yet counts as one."""
    client = await subscribed(house, listens)
    await client.ask(query(begin))
    hearer_of(client).tell(7, TOLD)
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZt"
    assert tags(await client.ask(query(end))) == "CZiA"
    assert tags(await client.ask(query(begin) + query(end)))[-2:] == "Zi"[-2:]


async def test_a_client_that_does_not_read_has_a_bound(house: House, listens: Listens) -> None:
    """A1, L4: what is over it is dropped, what was kept comes in order when it reads again."""
    client = await subscribed(house, listens)
    client.transport.stuck = True
    hearer = hearer_of(client)
    kept = 0
    while hearer.tell(7, TOLD):
        kept += 1
        assert kept * len(TOLD) < 2 * client.session.buffer_limit
    before = len(client.heard)
    client.transport.flow()
    await house.rest()
    assert client.heard[before:] == TOLD * kept


async def test_another_backend_with_the_sessions_number_is_not_taken_for_itself(house: House, listens: Listens) -> None:
    """A1: drivers compare the pid with their own."""
    client = await subscribed(house, listens)
    own = client.session.entry.session_id
    before = len(client.heard)
    hearer_of(client).tell(own, TOLD)
    assert client.heard[before:][5:9] == bytes(4)


async def test_who_leaves_hears_nothing(house: House, listens: Listens) -> None:
    client = await subscribed(house, listens)
    client.go()
    assert listens.book.empty
