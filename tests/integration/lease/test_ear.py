"""Releases that are heard of, and what happens when they are not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.lease.campaign import Phase
from poolguard.lease.campaigns import Campaigns, Run
from poolguard.lease.ear import Ear
from poolguard.lease.manager import LeaseManager
from poolguard.lease.store import LeaseStore
from poolguard.lease.terms import StepDown, TermKey
from poolguard.settings.model import Leases
from tests.integration.lease.conftest import wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async

Make = Callable[..., Awaitable[Campaigns]]


@pytest.fixture
async def make(database: Database) -> AsyncIterator[Make]:
    """Poolguards on one database."""
    clock, made = SystemClock(), list[Campaigns]()

    async def one(*, listen: bool = True) -> Campaigns:
        settings = Leases(listen=listen)
        store = LeaseStore(database.dsn, settings, clock)
        manager = (
            LeaseManager(store, settings, clock, lambda heard: Ear(database.dsn, clock, heard))
            if listen
            else LeaseManager(store, settings, clock)
        )
        await manager.start()
        made.append(Campaigns(manager, clock))
        return made[-1]

    yield one
    for campaigns in made:
        await campaigns.stop()
        await campaigns.manager.stop()


def begin(campaigns: Campaigns, holder: str, ttl: float = 30.0) -> Run:
    wanted = wish(holder=holder, request_id=holder, ttl=ttl)
    return campaigns.campaign(wanted, liveness_seconds=1000.0, prove=None)[0]


async def leads(run: Run, *, within: float = 5.0) -> None:
    await eventually_async(lambda: run.campaign.phase is Phase.LEADING, within=within)


def listens(campaigns: Campaigns) -> Callable[[], bool]:
    return lambda: campaigns.manager.watcher.listener.listening


async def test_a_release_elsewhere_is_followed_by_the_next_term_at_once(make: Make, loop_kind: str) -> None:
    first, second = await make(), await make()
    holder = begin(first, "pod-1")
    await leads(holder)
    follower = begin(second, "pod-2")
    await eventually_async(listens(second))
    await eventually_async(lambda: follower.leader is not None)
    await first.withdraw(holder)
    await leads(follower, within=1.0)


async def test_a_holder_without_campaign_learns_of_a_release_by_force_at_once(make: Make, loop_kind: str) -> None:
    """Fault 24."""
    first, second = await make(), await make()
    await first.manager.acquire(wish())
    await eventually_async(listens(first))
    await second.manager.force_release("a", actor="alice")
    await eventually_async(lambda: first.manager.leader("a") is None, within=1.0)


async def test_a_step_down_that_is_asked_for_elsewhere_is_heard_of(make: Make) -> None:
    first, second = await make(), await make()
    holder = begin(first, "pod-1")
    await leads(holder)
    await eventually_async(listens(first))
    await second.step_down("a", StepDown(hold_off_seconds=30.0))
    await eventually_async(lambda: holder.campaign.phase is Phase.WAITING, within=1.0)

    async def held_off() -> str | None:
        row = (await first.manager.get("a")).row
        return row.held_off.holder if row.held_off is not None else None

    assert await eventually_async(held_off) == "pod-1"


async def test_without_listening_a_follower_polls(make: Make) -> None:
    """Fault 23: as behind a transaction pooler, which carries no LISTEN."""
    first, second = await make(listen=False), await make(listen=False)
    holder = begin(first, "pod-1")
    await leads(holder)
    follower = begin(second, "pod-2")
    await eventually_async(lambda: follower.leader is not None)
    await first.withdraw(holder)
    await leads(follower, within=3.0)


async def test_a_listening_connection_that_is_killed_is_opened_again(
    make: Make, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 23."""
    first = await make()
    begin(first, "pod-1")
    await eventually_async(listens(first))
    async with await database.connect_async() as admin:
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        await eventually_async(lambda: "not heard of" in caplog.text)
        await eventually_async(listens(first))
        await admin.execute("SELECT pg_notify('poolguard_lease', 'a')")


async def test_a_flood_of_notifications_is_not_a_flood_of_questions(make: Make, database: Database) -> None:
    """Oban's 2.5 million elections an hour came from such a loop."""
    first = await make()
    run = begin(first, "pod-1")
    await leads(run)
    await eventually_async(listens(first))
    looks, original = [0], first.manager.watcher._read

    async def counted(names: object) -> object:
        looks[0] += 1
        return await original(names)  # type: ignore[arg-type]

    first.manager.watcher._read = counted  # type: ignore[misc, assignment]
    async with await database.connect_async() as admin:
        began = SystemClock().monotonic()
        for _ in range(300):
            await admin.execute("SELECT pg_notify('poolguard_lease', 'a' || n) FROM generate_series(1, 10) n")
            await admin.execute("NOTIFY poolguard_lease, 'a'")
        took = SystemClock().monotonic() - began
    assert looks[0] <= took * 10 + 2


async def test_a_term_given_back_while_nobody_listens_is_taken_when_it_is_looked_at(make: Make) -> None:
    first, second = await make(listen=False), await make()
    acquired = await first.manager.acquire(wish(ttl=2.0))
    follower = begin(second, "pod-2", ttl=2.0)
    await asyncio.sleep(0)
    await first.manager.release(TermKey("a", "pod-1", acquired.standing.row.token))
    await leads(follower, within=1.5)
