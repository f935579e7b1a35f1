"""Backpressure: nobody makes poolguard keep what somebody else does not read."""

import asyncio

from poolguard.settings.model import Limits
from tests.support.relaying import House, tags
from tests.support.speech import COPY_DONE, SYNC, batch, copy_data, message, query


async def test_a_client_that_does_not_read_stops_its_server(house: House) -> None:
    """C4, L4: and reads on where it stopped."""
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    heard = len(client.heard)
    client.transport.stuck = True
    client.say(query("SELECT 2"))
    await house.rest()
    assert house.upstreams[0].transport.is_paused()
    client.transport.flow()
    assert not house.upstreams[0].transport.is_paused()
    assert tags(client.heard[heard:]) == "TDDCZt"


async def test_a_server_that_is_given_back_is_read_for_the_next_client(house: House) -> None:
    """L3, B1: the last guest still has not read its answer."""
    client, other = house.client(), house.client()
    client.transport.stuck = True
    client.say(query("SELECT 1"))
    await house.rest()
    assert house.pool.state.idle == 1
    assert tags(await other.ask(query("SELECT 1"))) == "TDCZi"
    client.transport.flow()
    assert tags(client.heard) == "TDCZi"


async def test_a_client_that_asks_and_never_reads_is_not_read(house: House) -> None:
    """L4: what it is told in answer would pile up."""
    client = house.client()
    client.transport.stuck = True
    client.say(query("SELECT 1"))
    await house.rest()
    assert client.transport.is_paused()
    client.transport.flow()
    assert not client.transport.is_paused()


async def test_a_server_that_is_taken_for_a_client_that_does_not_read_is_not_read(house: House) -> None:
    """L4: messages that had come before the client was stopped."""
    client = house.client()
    client.transport.stuck = True
    client.say(query("SELECT 1"))
    await house.rest()
    assert house.pool.state.idle == 1
    client.say(query("BEGIN;SELECT 1"))
    assert house.upstreams[0].transport.is_paused()
    client.go()
    await house.rest()
    house.check_at_rest()
    assert tags(await house.client().ask(query("SELECT 1"))) == "TDCZi"


async def test_a_server_that_does_not_read_stops_its_client(house: House) -> None:
    """L5."""
    client = house.client()
    await client.ask(query("COPY t FROM STDIN"))
    upstream = house.upstreams[0]
    upstream.transport.stuck = True
    client.say(copy_data(b"1\n"))
    assert client.transport.is_paused()
    upstream.transport.flow()
    assert not client.transport.is_paused()
    assert tags(await client.ask(COPY_DONE)) == "CZi"
    house.check_at_rest()


async def test_a_copy_that_fails_while_its_data_waits_lets_the_client_go_on(house: House) -> None:
    """C3: PostgreSQL has answered and the server is given back before the rest of the data has gone."""
    client, other = house.client(), house.client()
    await client.ask(query("COPY t FROM STDIN"))
    upstream = house.upstreams[0]
    client.say(copy_data(b"BAD\n"))
    upstream.transport.stuck = True
    client.say(copy_data(b"2\n"))
    assert client.transport.is_paused()
    await house.rest()
    assert tags(client.heard) == "GEZi"
    assert not client.transport.is_paused(), "the client would wait for ever"
    upstream.transport.flow()
    assert tags(await client.ask(copy_data(b"3\n") + COPY_DONE + query("SELECT 1"))) == "TDCZi"
    assert tags(await other.ask(query("SELECT 1"))) == "TDCZi"
    house.check_at_rest()


async def test_a_client_that_waits_may_talk_on_up_to_a_bound() -> None:
    house = House(limits=Limits(buffer_bytes=100))
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("SELECT 1"))
    client.say(query("SELECT 2"))
    assert not client.transport.is_paused()
    client.say(query("SELECT '" + "x" * 100 + "'"))
    assert client.transport.is_paused()
    await holder.ask(query("COMMIT"))
    await house.rest()
    assert not client.transport.is_paused()
    assert tags(client.heard) == "TDCZiTDDCZiTDCZi"
    house.check_at_rest()
    await house.close()


async def test_a_row_is_passed_on_before_it_has_come_whole(house: House) -> None:
    """L2: also the end of a row that looks like ReadyForQuery, cut behind any byte."""
    row = message(b"D", b"\0\1\0\0\0\x10" + b"x" * 10 + b"Z\0\0\0\5I")
    rest = message(b"C", b"SELECT 1\0") + b"Z\0\0\0\5I"
    for cut in range(6, len(row)):
        client = house.client()
        await client.ask(query("SELECT 0"))
        upstream = house.upstreams[0]
        upstream.silent = True
        heard = len(client.heard)
        client.say(query("SELECT 1"))
        upstream.discard()
        upstream.transport.protocol.data_received(row[:cut])
        assert client.heard[heard:] == row[:cut]
        assert house.pool.state.idle == 0
        upstream.transport.protocol.data_received(row[cut:] + rest[:3])
        upstream.transport.protocol.data_received(rest[3:])
        assert client.heard[heard:] == row + rest
        upstream.silent = False
        house.check_at_rest()


async def test_thousands_of_queries_that_are_refused_one_by_one_are_all_answered() -> None:
    """X22, X23: each in turn, without piling up on the stack, and the loop turns between them."""
    house = House(max_waiting=0)
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("SELECT 1") * 3000)
    turns = 0
    while len(client.heard) == 0 or client.session.carry:
        await asyncio.sleep(0)
        turns += 1
    assert tags(client.heard) == "EZi" * 3000
    assert turns > 1000
    assert tags(await client.ask(batch("SELECT 1") + SYNC)) == "EZiZi"
    await house.close()


async def test_a_long_message_that_dribbles_in_is_not_copied_for_each_piece(house: House) -> None:
    """L10: 1 MB in pieces of 16 bytes; joined anew each time that would be 32 GB."""
    client = house.client()
    said = query("SELECT '" + "x" * 2**20 + "'")
    client.say(said, lambda data: (data[at : at + 16] for at in range(0, len(data), 16)))
    await house.rest()
    assert tags(client.heard) == "TDCZi"
    assert len(house.postgres.ran[0]) == len(said) - 6
