"""Names that a client uses again before PostgreSQL has answered what it said of them last."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, bind, close, execute, named, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 0"))  # from now on a server is had at once
    yield house
    await house.close()


@pytest.mark.parametrize("used", [named("s"), parse("SELECT 2", "s") + SYNC, parse("SELECT 1", "t") + SYNC])
async def test_what_a_name_means_is_awaited_behind_the_sync_that_tells(house: House, used: bytes) -> None:
    """P3: the Parse may have been skipped."""
    client = house.client()
    client.say(parse("SELECT 1", "s") + SYNC + used)
    assert client.session.held == used
    assert client.session.awaited is not None
    await house.rest()
    assert not client.session.held
    assert client.session.unsure == {}
    house.check_at_rest()


@pytest.mark.parametrize(
    "said",
    [
        parse("SELECT 1", "s") + bind("s") + execute() + close("S", "s") + SYNC,
        parse("SELECT 1", "s") + SYNC + parse("SELECT 2", "t") + bind("t") + SYNC,
        parse("SELECT 1", "s") + SYNC + parse("SELECT 2") + bind() + execute() + SYNC + query("SELECT 3"),
        parse("SELECT 1", "s") + bind("s"),
    ],
)
async def test_nobody_waits_within_a_batch_or_for_other_names(house: House, said: bytes) -> None:
    """X4, X5: what PostgreSQL skips together need not be awaited, and nothing is awaited that has no Sync."""
    client = house.client()
    client.say(said)
    assert client.session.held is None


async def test_names_that_were_answered_cost_a_pipeline_no_wait(house: House) -> None:
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    client.say(named("s") * 3)
    assert client.session.held is None
    await house.rest()
    house.check_at_rest()


async def test_a_parse_that_was_skipped_is_not_there_for_the_next_batch(house: House) -> None:
    """P3."""
    client = house.client()
    answer = await client.ask(bind("nobody") + parse("SELECT 1", "s") + SYNC + named("s"))
    assert sqlstates(answer) == ["26000", "26000"]
    assert tags(answer) == "EZiEZi"
    house.check_at_rest()


async def test_a_close_that_was_skipped_leaves_the_name(house: House) -> None:
    """P9."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    answer = await client.ask(bind("nobody") + close("S", "s") + SYNC + named("s"))
    assert tags(answer) == "EZi2DCZi"
    house.check_at_rest()


async def test_who_leaves_while_a_name_is_awaited_leaves_nothing_behind(house: House) -> None:
    client = house.client()
    client.say(parse("SELECT 1", "s") + SYNC + named("s"))
    client.session.leave()
    await house.rest()
    house.check_at_rest()
