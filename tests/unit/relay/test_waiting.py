"""A session that waits, and what its client says meanwhile."""

from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import Canceled
from poolguard.ledger.entries import Phase
from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_what_is_said_while_waiting_goes_on_in_order(house: House) -> None:
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("SELECT 1"))
    client.say(query("SELECT x") + SYNC)
    assert client.session.entry.phase is Phase.WAITING
    await holder.ask(query("COMMIT"))
    assert tags(client.heard) == "TDCZiTDCZiZi"
    house.check_at_rest()


async def test_a_wait_in_vain_in_the_extended_protocol_skips_to_sync(house: House) -> None:
    """X23: one error, one ReadyForQuery."""
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(parse("SELECT 1") + SYNC)
    house.pool.withdraw(client.session)
    client.session.wait_failed(Canceled("canceling statement due to user request"))
    await house.rest()
    assert tags(client.heard) == "EZi"
    assert sqlstates(client.heard) == ["57014"]


async def test_while_a_reset_is_under_way_nothing_else_is_sent(house: House) -> None:
    """T8: the client's own values come first."""
    client = house.client(timezone="Asia/Tokyo")
    answer = await client.ask(query("RESET ALL") + query("SHOW TimeZone"))
    assert tags(answer) == "CZiTDCZi"
    assert b"Asia/Tokyo" in answer
    house.check_at_rest()
