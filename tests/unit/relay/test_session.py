"""A session that holds, waits and ends."""

from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import ShuttingDown
from poolguard.ledger.entries import Phase
from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import FLUSH, SYNC, batch, bind, execute, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_a_server_is_given_back_when_the_transaction_is_over(house: House) -> None:
    client = house.client()
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi"
    assert client.session.entry.phase is Phase.IDLE
    house.check_at_rest()


async def test_begin_alone_holds_nothing_and_counts_as_nothing(house: House) -> None:
    """D1."""
    client = house.client()
    assert tags(await client.ask(query("BEGIN"))) == "CZt"
    assert client.session.entry.phase is Phase.DEFERRED
    assert house.upstreams == []
    house.check_at_rest()


async def test_begin_goes_with_the_next_statement_and_the_server_is_held_to_commit(house: House) -> None:
    """D1, D7."""
    client = house.client()
    await client.ask(query("BEGIN READ ONLY"))
    assert tags(await client.ask(query("SAVEPOINT a"))) == "CZt"
    assert house.postgres.ran == ["BEGIN READ ONLY", "SAVEPOINT a"]
    assert client.session.entry.session_id in house.ledger.holders
    assert tags(await client.ask(query("COMMIT"))) == "CZi"
    house.check_at_rest()


async def test_an_error_behind_begin_leaves_a_failed_transaction(house: House) -> None:
    """D4."""
    client = house.client()
    await client.ask(query("BEGIN"))
    assert tags(await client.ask(query("FAIL"))).endswith("EZe")
    assert client.session.entry.phase is Phase.FAILED_TRANSACTION
    await client.ask(query("ROLLBACK"))
    house.check_at_rest()


async def test_the_next_in_line_gets_the_server_at_commit(house: House) -> None:
    first, second = house.client(), house.client()
    await first.ask(query("BEGIN") + query("SELECT 1"))
    assert await second.ask(query("SELECT x")) == b""
    assert second.session.entry.phase is Phase.WAITING
    await first.ask(query("COMMIT"))
    assert tags(second.heard) == "TDCZi"
    house.check_at_rest()


async def test_a_server_is_not_released_by_flush(house: House) -> None:
    """X7: results come, the server stays."""
    client = house.client()
    assert tags(await client.ask(parse("SELECT 1") + bind() + execute() + FLUSH)) == "12DC"
    assert client.session.entry.session_id in house.ledger.holders
    assert tags(await client.ask(SYNC)) == "Zi"
    house.check_at_rest()


async def test_several_batches_in_one_chunk_are_answered_one_by_one(house: House) -> None:
    """X4, X5."""
    client = house.client()
    assert tags(await client.ask(batch("SELECT 1") + batch("SELECT x") + SYNC)) == "12TDCZi12TDCZiZi"
    house.check_at_rest()


async def test_sync_alone_takes_no_server(house: House) -> None:
    """X6."""
    assert tags(await house.client().ask(SYNC)) == "Zi"
    assert house.upstreams == []


async def test_a_client_that_vanishes_in_its_transaction_is_rolled_back(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("INSERT 1"))
    client.go()
    await house.rest()
    assert house.postgres.committed == []
    assert house.gone == [client.session]
    house.check_at_rest()


async def test_a_server_that_vanishes_ends_its_session_with_one_error(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    heard = len(client.heard)
    house.upstreams[0].lose()
    await house.rest()
    assert sqlstates(client.heard[heard:]) == ["08006"]
    assert client.transport.closing
    house.check_at_rest()


async def test_what_pins_keeps_the_server_beyond_the_transaction(house: House) -> None:
    client = house.client()
    await client.ask(query("LISTEN jobs"))
    assert client.session.entry.phase is Phase.PINNED
    client.go()
    await house.rest()
    assert house.postgres.listens == set()
    house.check_at_rest()


async def test_draining_ends_an_idle_session_and_lets_a_transaction_finish(house: House) -> None:
    idle, busy = house.client(), house.client()
    await busy.ask(query("BEGIN") + query("SELECT 1"))
    idle.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    busy.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    await house.rest()
    assert sqlstates(idle.heard) == ["57P01"]
    assert not busy.transport.closing
    assert tags(await busy.ask(query("COMMIT"))) == "CZiE"
    house.check_at_rest()
