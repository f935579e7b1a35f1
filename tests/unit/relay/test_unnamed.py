"""The unnamed statement."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, batch, bind, close, execute, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 0"))  # from now on a server is had at once
    yield house
    await house.close()


async def test_one_that_another_client_has_pushed_out_is_sent_again(house: House) -> None:
    """P16: and the other's is never run in its place."""
    one, two = house.client(), house.client()
    await one.ask(parse("SELECT 'one'") + SYNC)
    await two.ask(parse("SELECT 'two'") + SYNC)
    answer = await one.ask(bind() + execute() + SYNC)
    assert tags(answer) == "2DCZi"
    assert b"'one'" in answer
    house.check_at_rest()


async def test_one_whose_parse_failed_is_not_there(house: House) -> None:
    """P16: on the server that refused it, and on one that others have used since."""
    one, two = house.client(), house.client()
    assert sqlstates(await one.ask(batch("SYNTAX"))) == ["42601"]
    assert sqlstates(await one.ask(bind() + execute() + SYNC)) == ["26000"]
    await two.ask(batch("SELECT 2"))
    assert sqlstates(await one.ask(bind() + execute() + SYNC)) == ["26000"]
    house.check_at_rest()


async def test_one_whose_execution_failed_is_there(house: House) -> None:
    """P16."""
    one, two = house.client(), house.client()
    assert sqlstates(await one.ask(batch("FAIL"))) == ["22012"]
    assert sqlstates(await one.ask(bind() + execute() + SYNC)) == ["22012"]
    await two.ask(batch("SELECT 2"))
    assert sqlstates(await one.ask(bind() + execute() + SYNC)) == ["22012"]
    house.check_at_rest()


@pytest.mark.parametrize("skipped", [parse("SELECT 'two'"), close("S"), query("SELECT 'two'")])
async def test_what_an_error_skips_leaves_it_and_who_asks_too_early_waits(house: House, skipped: bytes) -> None:
    """P16, X4: the Bind comes before anybody knows of the error."""
    client = house.client()
    await client.ask(parse("SELECT 'one'") + SYNC)
    client.say(bind("nobody") + skipped + SYNC + bind() + execute() + SYNC)
    assert client.session.awaited is not None
    await house.rest()
    assert client.heard.count(b"'one'") == 1
    assert sqlstates(client.heard) == ["26000"]
    house.check_at_rest()
