"""poolguard as a candidate by itself: when it campaigns, and whom it names."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from poolguard.core.errors import InvalidLease, LeaseUnavailable
from poolguard.lease.campaigns import Campaigns
from poolguard.lease.candidate import Candidate
from poolguard.lease.manager import LeaseManager
from poolguard.settings.model import Leases
from tests.support.clock import ManualClock
from tests.support.leases import Table, TableStore

Make = Callable[[str], Candidate]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> TableStore:
    return TableStore(Table(), clock)


@pytest.fixture
async def make(store: TableStore, clock: ManualClock) -> AsyncIterator[Make]:
    """Candidates, each in a poolguard of its own."""
    managers: list[LeaseManager] = []
    candidates: list[Candidate] = []

    def one(holder: str) -> Candidate:
        manager = LeaseManager(store if not managers else TableStore(store.table, clock), Leases(), clock)
        managers.append(manager)
        candidates.append(Candidate(Campaigns(manager, clock), clock, election="a", holder=holder, check_url=None))
        return candidates[-1]

    yield one
    for candidate, manager in zip(candidates, managers, strict=True):
        await candidate.stop()
        await candidate._campaigns.stop()
        await manager.stop()


async def begin(candidate: Candidate) -> None:
    await candidate._campaigns.manager.start()
    await candidate.start()
    await settle()


def leads(candidate: Candidate) -> bool:
    return candidate.leads


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


async def pass_time(clock: ManualClock, seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        await clock.advance(0.25)
        await settle()


async def test_one_leads_and_all_name_it(make: Make, clock: ManualClock) -> None:
    first, second = make("pod-1"), make("pod-2")
    assert (first.leads, first.leader) == (False, "")
    await begin(first)
    await begin(second)
    await pass_time(clock, 30.0)
    assert [(one.leads, one.leader) for one in (first, second)] == [(True, "pod-1"), (False, "pod-1")]


async def test_cut_off_from_postgresql_nobody_is_named_not_even_itself(
    make: Make, store: TableStore, clock: ManualClock
) -> None:
    """It fails closed."""
    candidate = make("pod-1")
    await begin(candidate)

    def away(call: str) -> None:
        raise LeaseUnavailable("away")

    store.before_doing = away
    await pass_time(clock, 14.0)
    assert (candidate.leads, candidate.leader) == (False, "")
    store.before_doing = lambda call: None
    await pass_time(clock, 5.0)
    assert leads(candidate)


async def test_with_a_url_it_is_a_candidate_only_while_that_answers(make: Make, clock: ManualClock) -> None:
    healthy = [False]

    async def check() -> bool:
        return healthy[0]

    candidate = make("pod-1")
    candidate._prove = check  # type: ignore[misc]
    await begin(candidate)
    await pass_time(clock, 3.0)
    assert not leads(candidate)
    healthy[0] = True
    await pass_time(clock, 2.0)
    assert leads(candidate)
    healthy[0] = False
    await pass_time(clock, 25.0)
    assert not leads(candidate)
    healthy[0] = True
    await pass_time(clock, 20.0)
    assert leads(candidate)


def test_bad_names_and_urls_are_refused(clock: ManualClock, store: TableStore) -> None:
    campaigns = Campaigns(LeaseManager(store, Leases(), clock), clock)
    for election, url in (("", None), ("a", "https://example.com/")):
        with pytest.raises(InvalidLease):
            Candidate(campaigns, clock, election=election, holder="pod-1", check_url=url)
