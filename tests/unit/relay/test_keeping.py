"""What a session leaves in its server."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, tags
from tests.support.speech import query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_a_pin_counts_once_and_is_seen_in_the_ledger(house: House) -> None:
    """T10: by its first reason."""
    client = house.client()
    await client.ask(query("SET work_mem = 1"))
    await client.ask(query("CREATE TEMP TABLE t ()"))
    assert client.session.entry.pin == "SET of a parameter that PostgreSQL does not report"
    assert house.pool.pinned == 1
    assert house.counters.pins_total == {("app", "set"): 1}


async def test_a_statement_that_a_failed_transaction_refuses_takes_nothing_back(house: House) -> None:
    """T8: RESET in it changes nothing."""
    client = house.client(timezone="Asia/Tokyo")
    await client.ask(query("BEGIN;FAIL"))
    assert tags(await client.ask(query("RESET TimeZone"))) == "EZe"
    await client.ask(query("ROLLBACK"))
    assert b"Asia/Tokyo" in await client.ask(query("SHOW TimeZone"))
