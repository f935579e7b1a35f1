"""Clients that break the protocol: 08P01, and what they said before still counts."""

import pytest

from poolguard.settings.model import Limits
from tests.support.relaying import House, errors, sqlstates, tags
from tests.support.speech import SYNC, batch, message, parse, query

BROKEN = {
    "length 0": b"Q\0\0\0\0",
    "length 3": b"P\0\0\0\3",
    "length negative": b"Q\xff\xff\xff\xff",
    "length 2 GB": b"Q\x7f\xff\xff\xff",
    "unknown type": message(b"!"),
    "a server's type": message(b"Z", b"I"),
    "a password": message(b"p", b"x\0"),
    "Parse, empty": message(b"P"),
    "Parse, no text": message(b"P", b"\0a"),
    "named Parse, no text": message(b"P", b"name\0text"),
    "Parse, no zero byte": message(b"P", b"name"),
    "Bind, empty": message(b"B"),
    "Bind, no name": message(b"B", b"portal\0name"),
    "Describe, empty": message(b"D"),
    "Describe, no zero byte": message(b"D", b"Sa"),
    "Close, empty": message(b"C"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("state", ["idle", "in a transaction", "deferred"])
async def test_a_broken_message_ends_the_session_with_08p01(house: House, broken: bytes, state: str) -> None:
    """L7, L8, X17: in any state, without an exception and without a server lost."""
    client = house.client()
    await client.ask({"idle": SYNC, "in a transaction": query("BEGIN;INSERT a"), "deferred": query("BEGIN")}[state])
    before = len(client.heard)
    await client.ask(broken)
    found = errors(client.heard[before:])
    assert [(error["S"], error["C"]) for error in found] == [("FATAL", "08P01")]
    assert client.transport.closing
    assert house.counters.protocol_violations_total == 1
    house.check_at_rest()
    assert house.pool.closed.total() == 0
    assert all(upstream.postgres.committed == [] for upstream in house.upstreams)


@pytest.mark.parametrize("before", [query("INSERT a"), batch("INSERT a")])
@pytest.mark.parametrize("dribble", [False, True])
async def test_what_came_before_a_broken_message_reaches_postgresql(house: House, before: bytes, dribble: bool) -> None:
    client = house.client()
    for data in (before, message(b"!")) if dribble else (before + message(b"!"),):
        client.say(data)
    await house.rest()
    assert "INSERT a" in house.postgres.ran
    assert sqlstates(client.heard)[-1:] == ["08P01"]
    house.check_at_rest()
    assert not house.upstreams[0].transport.closing, "the server was owed a reply that could not come"


async def test_a_message_over_the_limit_is_refused_by_its_header() -> None:
    """L7: before it is kept."""
    house = House(limits=Limits(message_bytes=1000))
    client = house.client()
    assert sqlstates(await client.ask(b"Q" + (1001).to_bytes(4, "big") + b"SELECT")) == ["08P01"]
    (error,) = errors(client.heard)
    assert "limits.message_bytes" in error["H"]
    await house.close()


async def test_a_long_message_cannot_hide_its_length_in_pieces() -> None:
    house = House(limits=Limits(message_bytes=1000))
    client = house.client()
    for byte in b"Q" + (1001).to_bytes(4, "big"):
        client.say(bytes([byte]))
    assert sqlstates(client.heard) == ["08P01"]
    await house.close()


async def test_a_client_that_dribbles_headers_does_not_look_busy(house: House) -> None:
    """L1, B7: what counts as idle in a transaction is said to the guard by whole messages."""
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    since = client.session.entry.phase_since
    client.say(b"Q")
    client.say(b"\0")
    assert client.session.entry.phase_since == since


async def test_copy_data_outside_of_copy_is_dropped(house: House) -> None:
    """C3."""
    client = house.client()
    assert await client.ask(message(b"d", b"1\n") + message(b"c") + message(b"f", b"no\0") + message(b"H")) == b""
    assert house.upstreams == []
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi"


async def test_a_statement_that_is_no_utf8_is_passed_on_as_it_is(house: House) -> None:
    client = house.client()
    assert tags(await client.ask(query(b"SELECT '\xff\xfe'"))) == "TDCZi"
    assert tags(await client.ask(parse("SELECT 1", "a\x7f") + SYNC)) == "1Zi"
