"""Statements that are given up in SQL."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import SYNC, bind, execute, named, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 0"))  # from now on a server is had at once
    yield house
    await house.close()


async def test_several_of_one_text_go_and_no_decoy_stays(house: House) -> None:
    """P10."""
    client = house.client()
    for name in "stu":
        await client.ask(parse("SELECT 1", name) + SYNC)
    assert tags(await client.ask(query("DEALLOCATE s;DEALLOCATE t;SELECT 1"))) == "CCTDCZi"
    assert list(client.session.statements) == [b"u"]
    assert {name.partition("_")[0] for name in house.postgres.prepared} == {""}
    house.check_at_rest()


async def test_an_error_keeps_those_whose_turn_had_not_come(house: House) -> None:
    """P10: PostgreSQL has forgotten their decoys, too."""
    client = house.client()
    for name in "st":
        await client.ask(parse("SELECT 1", name) + SYNC)
    assert sqlstates(await client.ask(query("DEALLOCATE s;FAIL;DEALLOCATE t"))) == ["22012"]
    assert list(client.session.statements) == [b"t"]
    assert not {"s", "t"} & house.postgres.prepared.keys()
    assert sqlstates(await client.ask(named("s"))) == ["26000"]
    assert tags(await client.ask(named("t"))) == "2DCZi"
    house.check_at_rest()


@pytest.mark.parametrize("sql", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_what_a_failed_transaction_refuses_forgets_nothing(house: House, sql: str) -> None:
    """P10, X4: though it was sent before anybody knew that it had failed."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    client.say(query("BEGIN;FAIL") + query(sql) + query("ROLLBACK") + named("s"))
    await house.rest()
    assert tags(client.heard).endswith("2DCZi")
    assert sqlstates(client.heard) == ["22012", "25P02"]
    house.check_at_rest()


async def test_one_that_ends_a_batch_reaches_postgresql(house: House) -> None:
    """X3, P10: else what came before it would be left uncommitted."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    assert tags(await client.ask(parse("INSERT 1") + bind() + execute() + query("DEALLOCATE s"))) == "12CCZi"
    assert client.session.statements == {}
    assert house.postgres.status == "I"
    house.check_at_rest()
