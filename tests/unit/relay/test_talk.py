"""What a client says when it is not plain."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import COPY_DONE, SYNC, TERMINATE, batch, bind, copy_data, execute, message, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


@pytest.mark.parametrize("data", [message(b"?"), b"Q\0\0\0\3", b"Q\x7f\xff\xff\xff", message(b"p", b"x\0")])
async def test_a_client_that_breaks_the_protocol_is_told_and_ended(house: House, data: bytes) -> None:
    client = house.client()
    assert sqlstates(await client.ask(data)) == ["08P01"]
    assert client.transport.closing
    assert house.counters.protocol_violations_total == 1
    house.check_at_rest()


async def test_a_goodbye_ends_the_session_without_a_word(house: House) -> None:
    client = house.client()
    await client.ask(query("SELECT 1"))
    assert await client.ask(TERMINATE) == b""
    assert client.transport.closing
    house.check_at_rest()


async def test_after_an_error_everything_up_to_sync_is_discarded(house: House) -> None:
    """X1: a Query too."""
    client = house.client()
    answer = await client.ask(parse("FAIL") + bind() + execute() + query("INSERT 1") + SYNC)
    assert tags(answer) == "12DEZi"
    assert "INSERT 1" not in house.postgres.ran
    house.check_at_rest()


async def test_a_begin_of_the_extended_protocol_is_deferred(house: House) -> None:
    """D1, D7."""
    client = house.client()
    assert tags(await client.ask(batch("BEGIN"))) == "12nCZt"
    assert house.upstreams == []
    assert tags(await client.ask(batch("SELECT 1"))) == "12TDCZt"
    assert house.postgres.ran == ["BEGIN", "SELECT 1"]


async def test_copy_in_a_deferred_transaction(house: House) -> None:
    """D7."""
    client = house.client()
    await client.ask(query("BEGIN"))
    assert tags(await client.ask(query("COPY t FROM STDIN"))) == "G"
    assert tags(await client.ask(copy_data(b"1") + COPY_DONE)) == "CZt"
    await client.ask(query("COMMIT"))
    house.check_at_rest()


async def test_a_query_ends_what_was_not_synced_before_it(house: House) -> None:
    """X3: in packets of their own, too."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    client.say(parse("SELECT 2", "s"))
    assert tags(await client.ask(query("SELECT 1"))) == "1TDCZi"
    house.check_at_rest()
