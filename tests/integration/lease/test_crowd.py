"""Many contenders for one name: one winner, and PostgreSQL is asked a bounded number of times."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.lease.campaign import Phase
from poolguard.lease.campaigns import Campaigns, Run
from poolguard.lease.ear import Ear
from poolguard.lease.manager import LeaseManager
from poolguard.lease.store import LeaseStore
from poolguard.settings.model import Leases
from tests.integration.lease.conftest import wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async

POOLGUARDS = 20
CONTENDERS = 200


class Asked:
    """How often which request went to PostgreSQL, from all poolguards."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def count(self, store: LeaseStore) -> None:
        """Count the requests of *store* from now on."""
        for name in ("acquire", "read_some"):
            self._wrap(store, name)

    def _wrap(self, store: LeaseStore, name: str) -> None:
        original = getattr(store, name)

        async def counted(*arguments: object, **more: object) -> object:
            self.calls[name] += 1
            return await original(*arguments, **more)

        setattr(store, name, counted)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def crowd(database: Database, asked: Asked) -> AsyncIterator[list[Campaigns]]:
    """Poolguards, started one after the other."""
    clock, made = SystemClock(), list[Campaigns]()
    for _ in range(POOLGUARDS):
        store = LeaseStore(database.dsn, Leases(), clock)
        asked.count(store)
        manager = LeaseManager(store, Leases(), clock, lambda heard: Ear(database.dsn, clock, heard))
        await manager.start()
        made.append(Campaigns(manager, clock))
    yield made
    for campaigns in made:
        await campaigns.stop()
        await campaigns.manager.stop()


@pytest.mark.timeout(60)
async def test_two_hundred_contenders_and_a_holder_that_dies(
    crowd: list[Campaigns], asked: Asked, database: Database
) -> None:
    """Fault 25."""
    ttl = 4.0
    await crowd[0].manager.acquire(wish(holder="dies", request_id="dies", ttl=ttl))
    runs: list[Run] = []
    for number in range(CONTENDERS):
        wanted = wish(holder=f"pod-{number}", request_id=f"c{number}", ttl=60.0)
        campaigns = crowd[number % POOLGUARDS]
        runs.append(campaigns.campaign(wanted, liveness_seconds=1000.0, prove=None)[0])
    # Everybody has been refused once, and waits.
    await eventually_async(lambda: all(run.leader is not None for run in runs), within=20.0)

    def leading() -> list[Run]:
        return [run for run in runs if run.campaign.phase is Phase.LEADING]

    await eventually_async(leading, within=ttl + 10.0)
    before = asked.calls.copy()
    # The winner is known to all, and the crowd is quiet again.
    (winner,) = leading()
    await eventually_async(
        lambda: all(run.leader is not None and run.leader.holder == winner.campaign.wish.holder for run in runs),
        within=10.0,
    )
    assert len(leading()) == 1
    assert sum(campaigns.manager.leader("a") is not None for campaigns in crowd) == 1
    with database.connect() as admin:
        assert admin.execute("SELECT transitions FROM poolguard.lease").fetchone() == (2,)
    # At most: once when they began, once or twice when the term ended.
    assert asked.calls["acquire"] <= 4 * CONTENDERS, asked.calls
    assert asked.calls["read_some"] <= 30 * POOLGUARDS, (before, asked.calls)
