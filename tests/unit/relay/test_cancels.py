"""Cancel requests: how many at once, and what becomes of the rest."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.settings.model import Limits
from tests.support.relaying import Client, House, sqlstates
from tests.support.speech import query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Four servers, and two cancels at once."""
    house = House(size=4, limits=Limits(max_cancels=2))
    yield house
    house.check()
    await house.close()


async def busy(house: House, number: int) -> list[Client]:
    clients = [house.client() for _ in range(number)]
    for client in clients:
        client.say(query("SELECT FOREVER"))
    await house.rest()
    return clients


async def test_k5_only_so_many_go_to_postgresql_at_once(house: House) -> None:
    """And the others afterwards: each was meant."""
    house.cancel_gate = asyncio.Event()
    clients = await busy(house, 4)
    asked = [client.cancel() for client in clients]
    await house.rest()
    assert len(house.cancels) == 2
    house.cancel_gate.set()
    await asyncio.gather(*asked)
    await house.rest()
    assert sorted(house.cancels) == [1, 2, 3, 4]
    assert [sqlstates(client.heard) for client in clients] == [["57014"]] * 4
    house.check_at_rest()


async def test_k5_a_storm_of_one_session_is_two_cancels(house: House) -> None:
    """One under way, and one for whatever it may have begun since."""
    house.cancel_gate = asyncio.Event()
    (client,) = await busy(house, 1)
    asked = [client.cancel()]
    await house.rest()
    asked += [client.cancel() for _ in range(100)]
    await house.rest()
    assert len(house.cancels) == 1
    assert not any(task.done() for task in asked), "nobody is told before it is done"
    house.cancel_gate.set()
    await asyncio.gather(*asked)
    assert len(house.cancels) <= 2
    assert sqlstates(client.heard) == ["57014"]
    await house.rest()
    house.check_at_rest()


async def test_one_that_waited_for_its_turn_misses_the_next_checkout(house: House) -> None:
    """K2."""
    house.cancel_gate = asyncio.Event()
    first, second, client = await busy(house, 3)
    asked = [waiting.cancel() for waiting in (first, second, client)]
    await house.rest()
    upstream = house.upstreams[2]
    upstream.answer(upstream.postgres.finish())
    await house.rest()
    client.say(query("SELECT FOREVER"))
    await house.rest()
    house.cancel_gate.set()
    await asyncio.gather(*asked)
    await house.rest()
    assert sqlstates(client.heard) == []
    assert len(house.cancels) == 2
    for upstream in house.upstreams:
        if upstream.postgres.running:
            upstream.answer(upstream.postgres.finish())
    await house.rest()
    house.check_at_rest()


async def test_who_asked_may_go_and_the_statement_still_ends(house: House) -> None:
    house.cancel_gate = asyncio.Event()
    (client,) = await busy(house, 1)
    asked = client.cancel()
    await house.rest()
    asked.cancel()
    house.cancel_gate.set()
    await house.rest()
    assert sqlstates(client.heard) == ["57014"]


async def test_a_new_limit_counts_from_the_next_on(house: House) -> None:
    house.requests.limit_to(4)
    house.cancel_gate = asyncio.Event()
    asked = [client.cancel() for client in await busy(house, 4)]
    await house.rest()
    assert len(house.cancels) == 4
    house.cancel_gate.set()
    await asyncio.gather(*asked)
