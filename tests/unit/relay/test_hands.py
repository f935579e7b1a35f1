"""What the guard does to a session."""

from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import IdleTransactionEnded
from poolguard.ledger.hands import Outcome
from poolguard.relay import hands
from tests.support.relaying import House, sqlstates, tags
from tests.support.speech import query

ERROR = IdleTransactionEnded("ended: it stood idle")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def test_a_rollback_frees_the_server_and_keeps_the_session(house: House) -> None:
    """G1."""
    client = house.client()
    await client.ask(query("BEGIN") + query("INSERT 1"))
    assert await hands.roll_back(client.session, client.session.entry.checkout, ERROR) is Outcome.DONE
    house.check_at_rest()
    answer = await client.ask(query("INSERT 2"))
    assert (tags(answer), sqlstates(answer)) == ("EZe", ["25P03"])
    assert tags(await client.ask(query("ROLLBACK"))) == "CZi"
    assert "INSERT 2" not in house.postgres.ran
    assert house.postgres.committed == []


async def test_a_pinned_session_keeps_its_server_through_a_rollback(house: House) -> None:
    """G8."""
    client = house.client()
    await client.ask(query("LISTEN jobs") + query("BEGIN") + query("SELECT 1"))
    assert await hands.roll_back(client.session, client.session.entry.checkout, ERROR) is Outcome.DONE
    await house.rest()
    assert house.postgres.status == "I"
    assert house.postgres.listens
    assert sqlstates(await client.ask(query("COMMIT"))) == ["25P03"]
    house.check()


async def test_a_rollback_undoes_no_set_that_was_committed_before_it(house: House) -> None:
    """G1, T1: in the same checkout, because both were sent at once."""
    client = house.client()
    await client.ask(query("SET timezone = 'Asia/Tokyo'") + query("BEGIN") + query("SELECT 1"))
    assert await hands.roll_back(client.session, client.session.entry.checkout, ERROR) is Outcome.DONE
    await house.rest()
    assert client.session.wanted.get("timezone") == "Asia/Tokyo"


async def test_another_checkout_is_left_alone(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    other = client.session.entry.checkout + 1
    assert await hands.roll_back(client.session, other, ERROR) is Outcome.VICTIM_MOVED
    assert await hands.cancel(client.session, other) is Outcome.VICTIM_MOVED
    assert await hands.terminate(client.session, other, ERROR) is Outcome.VICTIM_MOVED
    assert house.postgres.status == "T"


async def test_a_running_statement_is_not_rolled_back_but_can_be_cancelled(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT FOREVER"))
    checkout = client.session.entry.checkout
    assert await hands.roll_back(client.session, checkout, ERROR) is Outcome.REFUSED
    assert await hands.cancel(client.session, checkout) is Outcome.DONE
    await house.rest()
    assert sqlstates(client.heard) == ["57014"]


async def test_terminating_ends_session_and_server(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT FOREVER"))
    assert await hands.terminate(client.session, client.session.entry.checkout, ERROR) is Outcome.DONE
    await house.rest()
    assert sqlstates(client.heard) == ["25P03"]
    assert client.transport.closing
    assert house.upstreams[0].transport.closing
    house.check_at_rest()
