"""A session's parameters, followed."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House
from tests.support.speech import SYNC, batch, bind, execute, parse, query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 0"))  # from now on a server is had at once
    yield house
    await house.close()


@pytest.mark.parametrize("extended", [False, True])
async def test_a_reset_leads_to_the_clients_own_values(house: House, extended: bool) -> None:
    """T8: what stands behind it in one batch sees them, too."""
    client = house.client(timezone="Asia/Tokyo")
    await client.ask(query("SET timezone = 'Asia/Seoul'"))
    if extended:
        answer = await client.ask(batch("RESET ALL")[: -len(SYNC)] + batch("SHOW TimeZone"))
        assert b"Asia/Tokyo" in answer
    else:
        await client.ask(query("RESET ALL"))
    assert b"Asia/Tokyo" in await client.ask(query("SHOW TimeZone"))
    house.check_at_rest()


async def test_a_reset_that_an_error_skips_holds_nobody_up(house: House) -> None:
    """T8, X3: a Query that PostgreSQL never answers must not be waited for."""
    client = house.client(timezone="Asia/Tokyo")
    client.say(parse("FAIL") + bind() + execute() + query("RESET ALL") + SYNC + query("SHOW TimeZone"))
    await house.rest()
    assert b"Asia/Tokyo" in client.heard
    assert client.session.resetting is None
    house.check_at_rest()
