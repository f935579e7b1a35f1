"""A session that waits, and what its client says meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import Canceled
from poolguard.ledger.entries import Phase
from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, TERMINATE, bind, execute, parse, query


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


async def test_who_goes_while_what_it_said_before_goodbye_is_held_back_has_it_run(house: House) -> None:
    """P3: also at the moment between the answer that was waited for and what goes on behind it."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    client.say(parse("INSERT 1", "s") + SYNC + bind("s") + execute() + SYNC + TERMINATE)
    assert client.session.held
    await asyncio.sleep(0)
    assert (client.session.held is not None, client.session.server) == (True, None)
    client.go()
    await house.rest()
    assert house.postgres.ran == ["SELECT 1", "INSERT 1"]
    house.check_at_rest()


async def test_who_goes_while_it_waits_for_a_server_gives_up_its_place(house: House) -> None:
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("INSERT 1") + TERMINATE)
    client.go()
    await holder.ask(query("COMMIT"))
    assert "INSERT 1" not in house.postgres.ran
    house.check_at_rest()


async def test_while_a_reset_is_under_way_nothing_else_is_sent(house: House) -> None:
    """T8: the client's own values come first."""
    client = house.client(timezone="Asia/Tokyo")
    answer = await client.ask(query("RESET ALL") + query("SHOW TimeZone"))
    assert tags(answer) == "CZiTDCZi"
    assert b"Asia/Tokyo" in answer
    house.check_at_rest()
