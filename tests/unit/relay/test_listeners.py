"""The listeners of all pools."""

from dataclasses import replace

from poolguard.core.errors import UpstreamUnavailable
from poolguard.relay.listeners import Listeners
from poolguard.settings.model import PoolMode
from poolguard.upstream.link import Link
from tests.support.relaying import House


async def unreachable() -> Link:
    raise UpstreamUnavailable("PostgreSQL does not answer")


async def test_a_pool_of_mode_transaction_has_one_until_it_is_gone() -> None:
    house = House()
    listeners = Listeners(house.tasks, house.counters)
    listeners.add(house.pool, unreachable)
    assert listeners.of(house.pool) is not None
    house.pool.settings = replace(house.pool.settings, mode=PoolMode.SESSION)
    assert listeners.of(house.pool) is None
    house.pool.settings = replace(house.pool.settings, mode=PoolMode.TRANSACTION)
    listeners.renew(house.pool)
    listeners.tend()
    listeners.drop(house.pool)
    assert listeners.of(house.pool) is None
    listeners.stop()
    await house.close()
