"""When a session is at rest."""

from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import ShuttingDown
from tests.support.relaying import House, sqlstates
from tests.support.speech import parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_an_idle_session_can_be_told_something(house: House) -> None:
    client = house.client()
    assert client.session.can_be_told
    await client.ask(query("SELECT 1"))
    assert client.session.can_be_told


@pytest.mark.parametrize("sent", [query("BEGIN"), query("BEGIN;SELECT 1"), parse("SELECT 1")])
async def test_one_in_a_transaction_or_an_open_batch_can_not(house: House, sent: bytes) -> None:
    client = house.client()
    await client.ask(sent)
    assert not client.session.can_be_told


async def test_one_that_waits_can_not(house: House) -> None:
    first, second = house.client(), house.client()
    await first.ask(query("BEGIN;SELECT 1"))
    await second.ask(query("SELECT 2"))
    assert not second.session.can_be_told
    await first.ask(query("COMMIT"))
    assert second.session.can_be_told


async def test_one_that_is_pinned_can_between_its_transactions(house: House) -> None:
    client = house.client()
    await client.ask(query("SET work_mem = 1"))
    assert client.session.can_be_told
    await client.ask(query("BEGIN;SELECT 1"))
    assert not client.session.can_be_told


async def test_one_that_is_to_end_ends_when_it_comes_to_rest(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    assert not client.session.closed
    assert sqlstates(await client.ask(query("COMMIT"))) == ["57P01"]
    assert client.session.closed
