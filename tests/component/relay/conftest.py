"""A relay in memory for each test; nothing may be left behind in its books."""

from collections.abc import AsyncIterator

import pytest

from tests.support.relaying import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """One server."""
    house = House()
    yield house
    house.check()
    await house.close()


@pytest.fixture
async def pair() -> AsyncIterator[House]:
    """Two servers."""
    house = House(size=2)
    yield house
    house.check()
    await house.close()
