"""Clients' prepared statements under names of our own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, close, named, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_two_clients_may_use_one_name_for_different_statements(house: House) -> None:
    """P1."""
    one, two = house.client(), house.client()
    await one.ask(parse("SELECT 'one'", "s") + SYNC)
    await two.ask(parse("SELECT 'two'", "s") + SYNC)
    assert b"SELECT 'one'" in await one.ask(named("s"))
    assert b"SELECT 'two'" in await two.ask(named("s"))
    house.check_at_rest()


async def test_a_name_prepared_twice_is_refused(house: House) -> None:
    """P2."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    assert sqlstates(await client.ask(parse("SELECT 2", "s") + SYNC)) == ["42P05"]
    assert b"SELECT 1" in await client.ask(named("s"))


async def test_a_parse_that_failed_is_not_remembered(house: House) -> None:
    """P3."""
    client = house.client()
    assert sqlstates(await client.ask(parse("SYNTAX", "s") + SYNC)) == ["42601"]
    assert client.session.statements == {}
    assert sqlstates(await client.ask(named("s"))) == ["26000"]


async def test_close_of_an_unknown_name_succeeds(house: House) -> None:
    """P7."""
    assert tags(await house.client().ask(close("S", "nobody") + SYNC)) == "3Zi"


@pytest.mark.parametrize("sql", ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"])
async def test_what_is_deallocated_in_sql_is_gone(house: House, sql: str) -> None:
    """P10, P11."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    assert tags(await client.ask(query(sql))) == "CZi"
    assert sqlstates(await client.ask(named("s"))) == ["26000"]
    house.check_at_rest()


async def test_a_statement_of_another_client_survives_a_deallocate(house: House) -> None:
    """P10."""
    one, two = house.client(), house.client()
    for client in (one, two):
        await client.ask(parse("SELECT 1", "s") + SYNC)
    await one.ask(query("DEALLOCATE ALL"))
    assert tags(await two.ask(named("s"))) == "2DCZi"
