"""Campaigns over a store in memory: who leads, what renews, and how each end leaves the lease."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from poolguard.core.errors import LeaseBusy, LeaseNotFound, LeaseUnavailable, ShuttingDown
from poolguard.lease import campaigns as module
from poolguard.lease.campaign import End, Phase
from poolguard.lease.campaigns import Campaigns, Run
from poolguard.lease.counters import LostReason
from poolguard.lease.manager import LeaseManager
from poolguard.lease.proof import Proof
from poolguard.lease.terms import StepDown, TermKey
from poolguard.settings.model import Leases
from tests.support.clock import ManualClock
from tests.support.leases import Table, TableStore, wish


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def store(table: Table, clock: ManualClock) -> TableStore:
    return TableStore(table, clock)


async def made(store: TableStore, clock: ManualClock) -> Campaigns:
    manager = LeaseManager(store, Leases(), clock)
    await manager.start()
    return Campaigns(manager, clock)


@pytest.fixture
async def campaigns(store: TableStore, clock: ManualClock) -> AsyncIterator[Campaigns]:
    first = await made(store, clock)
    yield first
    await first.stop()
    await first.manager.stop()


@pytest.fixture
async def others(table: Table, clock: ManualClock) -> AsyncIterator[Campaigns]:
    """Another poolguard on the same table."""
    second = await made(TableStore(table, clock), clock)
    yield second
    await second.stop()
    await second.manager.stop()


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


def phase(run: Run) -> Phase:
    return run.campaign.phase


async def begin(
    campaigns: Campaigns,
    *,
    holder: str = "pod-1",
    request_id: str = "c1",
    liveness: float = 1000.0,
    prove: Proof | None = None,
    slots: int = 1,
) -> Run:
    wanted = wish(holder=holder, request_id=request_id, slots=slots)
    run, new = campaigns.campaign(wanted, liveness_seconds=liveness, prove=prove)
    assert new
    await settle()
    return run


async def pass_time(clock: ManualClock, seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        await clock.advance(0.25)
        await settle()


async def test_a_campaign_leads_and_is_renewed_as_long_as_the_application_lives(
    campaigns: Campaigns, table: Table, clock: ManualClock
) -> None:
    run = await begin(campaigns)
    assert phase(run) is Phase.LEADING
    await pass_time(clock, 60.0)
    assert campaigns.manager.leader("a") is not None
    assert len(table.granted) == 1
    assert campaigns.manager.counters.renewed == 12


async def test_the_next_one_leads_when_the_first_withdraws(
    campaigns: Campaigns, others: Campaigns, clock: ManualClock
) -> None:
    first = await begin(campaigns)
    second = await begin(others, holder="pod-2")
    assert (phase(second), second.leader and second.leader.holder) == (Phase.WAITING, "pod-1")
    await campaigns.withdraw(first)
    assert first.campaign.end is End.WITHDRAWN
    assert campaigns.runs() == []
    await pass_time(clock, 2.0)
    assert phase(second) is Phase.LEADING


async def test_a_silent_application_is_not_renewed_and_its_term_not_released(
    campaigns: Campaigns, table: Table, clock: ManualClock
) -> None:
    """Faults 1 and 18: it may yet wake up and act, until the time that it was told has run out."""
    run = await begin(campaigns, liveness=7.0)
    await pass_time(clock, 6.75)
    assert campaigns.manager.leader("a") is not None
    await pass_time(clock, 0.5)
    assert run.campaign.end is End.UNPROVEN
    assert campaigns.manager.leader("a") is None
    found = table.read("a", clock.boottime())
    assert found is not None
    assert found.running
    assert campaigns.manager.counters.lost[LostReason.UNPROVEN] == 1


async def test_words_and_open_streams_are_proof(campaigns: Campaigns, clock: ManualClock) -> None:
    run = await begin(campaigns, liveness=5.0)
    await pass_time(clock, 4.0)
    again, new = campaigns.campaign(wish(request_id="c1"), liveness_seconds=5.0, prove=None)
    assert (again, new) == (run, False)
    await pass_time(clock, 4.0)
    with run.read():
        await pass_time(clock, 30.0)
        assert phase(run) is Phase.LEADING
    await pass_time(clock, 5.0)
    assert run.campaign.end is End.UNPROVEN


async def test_a_check_is_the_only_proof_where_there_is_one(campaigns: Campaigns, clock: ManualClock) -> None:
    lives = [True]

    async def check() -> bool:
        return lives[0]

    run = await begin(campaigns, liveness=6.0, prove=check)
    with run.read():
        await pass_time(clock, 30.0)
        assert phase(run) is Phase.LEADING
        lives[0] = False
        campaigns.campaign(wish(request_id="c1"), liveness_seconds=6.0, prove=check)
        await pass_time(clock, 8.0)
        assert run.campaign.end is End.UNPROVEN


async def test_step_down_holds_off_the_one_that_steps_down(
    campaigns: Campaigns, others: Campaigns, clock: ManualClock
) -> None:
    first = await begin(campaigns)
    assert await campaigns.step_down("a", StepDown(hold_off_seconds=10.0)) is None
    assert phase(first) is Phase.WAITING
    await pass_time(clock, 9.0)
    assert phase(first) is Phase.WAITING
    second = await begin(others, holder="pod-2")
    assert phase(second) is Phase.LEADING
    await pass_time(clock, 5.0)
    assert phase(first) is Phase.WAITING


async def test_after_its_hold_off_it_leads_again_if_nobody_else_wants_to(
    campaigns: Campaigns, clock: ManualClock
) -> None:
    first = await begin(campaigns)
    await campaigns.step_down("a", StepDown(hold_off_seconds=10.0))
    await pass_time(clock, 11.0)
    assert phase(first) is Phase.LEADING


async def test_a_preferred_holder_is_the_only_one_while_the_hold_off_lasts(
    campaigns: Campaigns, others: Campaigns, clock: ManualClock
) -> None:
    await begin(campaigns)
    second = await begin(others, holder="pod-2", request_id="c2")
    third = await begin(others, holder="pod-3", request_id="c3")
    await campaigns.step_down("a", StepDown(hold_off_seconds=10.0, preferred="pod-3"))
    await pass_time(clock, 2.0)
    assert (phase(second), phase(third)) == (Phase.WAITING, Phase.LEADING)


async def test_a_holder_elsewhere_is_asked_and_steps_down_when_it_learns_of_it(
    campaigns: Campaigns, others: Campaigns, clock: ManualClock
) -> None:
    first = await begin(campaigns)
    second = await begin(others, holder="pod-2")
    asked = await others.step_down("a", StepDown(hold_off_seconds=10.0))
    assert asked is not None
    assert asked.step_down == StepDown(10.0)
    assert phase(first) is Phase.LEADING
    await pass_time(clock, 3.0)
    assert (phase(first), phase(second)) == (Phase.WAITING, Phase.LEADING)


async def test_nobody_can_step_down_from_a_lease_that_nobody_holds(campaigns: Campaigns) -> None:
    with pytest.raises(LeaseNotFound):
        await campaigns.step_down("a", StepDown())


async def test_drain_resigns_from_everything_and_takes_nothing_new(
    campaigns: Campaigns, others: Campaigns, table: Table, clock: ManualClock
) -> None:
    first = await begin(campaigns)
    waiting = await begin(others, holder="pod-2")
    await campaigns.drain(clock.monotonic() + 10.0)
    assert first.campaign.end is End.STOPPING
    assert campaigns.manager.leader("a") is None
    with pytest.raises(ShuttingDown):
        await begin(campaigns, request_id="c9")
    await pass_time(clock, 2.0)
    assert phase(waiting) is Phase.LEADING
    assert [holder for _, _, holder in table.granted] == ["pod-1", "pod-2"]


async def test_while_postgresql_is_away_it_leads_until_trust_ends_and_then_tries_again(
    campaigns: Campaigns, store: TableStore, table: Table, clock: ManualClock
) -> None:
    run = await begin(campaigns)

    def away(call: str) -> None:
        raise LeaseUnavailable("away")

    store.before_doing = away
    await pass_time(clock, 13.25)
    assert campaigns.manager.leader("a") is not None
    await pass_time(clock, 1.0)
    assert (phase(run), campaigns.manager.leader("a")) == (Phase.WAITING, None)
    await pass_time(clock, 10.0)
    store.before_doing = lambda call: None
    await pass_time(clock, 3.0)
    assert phase(run) is Phase.LEADING
    assert len(table.granted) == 2


async def test_a_term_that_was_lost_is_campaigned_for_again(
    campaigns: Campaigns, table: Table, clock: ManualClock
) -> None:
    """Fault 19: somebody deleted the row."""
    run = await begin(campaigns)
    first = run.campaign.term
    table.forget("a", sequence_too=True)
    await pass_time(clock, 6.0)
    assert phase(run) is Phase.LEADING
    assert first is not None
    assert run.campaign.term is not None
    assert run.campaign.term.token > first.token


async def test_a_release_by_force_ends_the_term_and_the_campaign_goes_on(
    campaigns: Campaigns, others: Campaigns, clock: ManualClock
) -> None:
    """Fault 24."""
    run = await begin(campaigns)
    assert run.campaign.term is not None
    token = run.campaign.term.token
    with run.read() as news:
        await others.manager.force_release("a", actor="alice")
        news.clear()
        await pass_time(clock, 5.25)
        assert news.is_set()
    assert run.campaign.term is not None
    assert run.campaign.term.token > token


async def test_changed_metadata_is_kept_with_the_running_term_at_once(
    campaigns: Campaigns, table: Table, clock: ManualClock
) -> None:
    await begin(campaigns)
    changed = replace(wish(request_id="c1"), metadata={"address": "10.0.0.7"})
    campaigns.campaign(changed, liveness_seconds=1000.0, prove=None)
    await settle()
    found = table.read("a", clock.boottime())
    assert found is not None
    assert found.metadata == {"address": "10.0.0.7"}
    assert len(table.granted) == 1


async def test_slots_let_several_lead_and_the_next_one_gets_the_first_that_comes_free(
    campaigns: Campaigns, clock: ManualClock
) -> None:
    runs = [await begin(campaigns, holder=f"pod-{n}", request_id=f"c{n}", slots=2) for n in range(3)]
    terms = [run.campaign.term and run.campaign.term.name for run in runs]
    assert terms == ["a/0", "a/1", None]
    await campaigns.withdraw(runs[0])
    await pass_time(clock, 2.0)
    assert runs[2].campaign.term is not None
    assert runs[2].campaign.term.name == "a/0"


async def test_a_lease_that_is_held_without_a_campaign_is_waited_for(campaigns: Campaigns, clock: ManualClock) -> None:
    acquired = await campaigns.manager.acquire(wish(holder="by-hand"))
    run = await begin(campaigns)
    assert phase(run) is Phase.WAITING
    await campaigns.manager.release(TermKey("a", "by-hand", acquired.standing.row.token))
    await pass_time(clock, 1.0)
    assert phase(run) is Phase.LEADING


async def test_the_streams_of_a_campaign_have_a_limit(campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 1)
    run = await begin(campaigns)
    with run.read(), pytest.raises(LeaseBusy), run.read():
        pass
    with run.read():
        assert run.campaign.streams == 1


async def test_limits(campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    await begin(campaigns)
    with pytest.raises(LeaseBusy, match="another holderIdentity"):
        campaigns.campaign(wish(holder="pod-2", request_id="c1"), liveness_seconds=1.0, prove=None)
    monkeypatch.setattr(module, "MAX_CAMPAIGNS", 1)
    with pytest.raises(LeaseBusy, match="no more"):
        await begin(campaigns, request_id="c2")
