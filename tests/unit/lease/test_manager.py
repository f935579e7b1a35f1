"""The service: what callers are told, what is believed, counted and logged, over a store that can misbehave."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import (
    LeaseBusy,
    LeaseHeld,
    LeaseLost,
    LeaseNotFound,
    LeaseUnavailable,
    LeaseUnknown,
    ShuttingDown,
)
from poolguard.lease import book as book_module
from poolguard.lease.counters import LostReason, RenewFailure
from poolguard.lease.manager import ByForce, LeaseManager
from poolguard.lease.terms import TermKey
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


@pytest.fixture
async def manager(store: TableStore, clock: ManualClock) -> AsyncIterator[LeaseManager]:
    made = LeaseManager(store, Leases(), clock)
    await made.start()
    yield made
    await made.stop()


async def hold(manager: LeaseManager, name: str = "a") -> TermKey:
    acquired = await manager.acquire(wish(name=name))
    assert acquired.new
    return TermKey(name, "pod-1", acquired.standing.row.token)


def leads(manager: LeaseManager, term: TermKey) -> bool:
    belief = manager.leader(term.name)
    return belief is not None and belief.token == term.token


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# Terms


async def test_a_new_term_is_led_until_its_trust_ends(manager: LeaseManager, clock: ManualClock) -> None:
    acquired = await manager.acquire(wish())
    assert acquired.new
    assert acquired.standing.valid_for_seconds == 13.5
    term = TermKey("a", "pod-1", acquired.standing.row.token)
    await clock.advance(13.4)
    assert leads(manager, term)
    await clock.advance(0.1)
    assert not leads(manager, term)
    await clock.advance(1.0)
    assert manager.counters.lost[LostReason.LAPSED] == 1
    assert manager.counters.acquired == 1


async def test_the_same_request_again_is_not_new(manager: LeaseManager) -> None:
    term = await hold(manager)
    again = await manager.acquire(wish())
    assert not again.new
    assert again.standing.row.token == term.token
    assert manager.counters.acquired == 1


async def test_a_term_that_another_attempt_of_the_same_call_got_is_new(manager: LeaseManager) -> None:
    """poolguard chose the id, so only this call can have used it before."""
    await hold(manager)
    assert (await manager.acquire(wish(), chosen_by_caller=False)).new


async def test_another_holder_is_named(manager: LeaseManager, clock: ManualClock) -> None:
    await hold(manager)
    await clock.advance(5.0)
    with pytest.raises(LeaseHeld) as caught:
        await manager.acquire(wish(holder="pod-2", request_id="r2"))
    assert caught.value.fields == {"holderIdentity": "pod-1", "validForMs": 10_000}
    assert manager.counters.conflicts == 1


async def test_a_request_that_had_its_term_gets_no_second_one(
    manager: LeaseManager, table: Table, clock: ManualClock
) -> None:
    await hold(manager)
    await clock.advance(20.0)
    await manager.acquire(wish(holder="pod-2", request_id="r2"))
    await clock.advance(20.0)
    with pytest.raises(LeaseLost):
        await manager.acquire(wish())
    assert len(table.granted) == 2


async def test_renewal_extends_trust(manager: LeaseManager, clock: ManualClock) -> None:
    term = await hold(manager)
    await clock.advance(10.0)
    assert (await manager.renew(term)).valid_for_seconds == 13.5
    await clock.advance(13.0)
    assert leads(manager, term)
    assert manager.counters.renewed == 1


async def test_a_slow_answer_extends_trust_only_from_when_it_was_sent(
    manager: LeaseManager, store: TableStore, clock: ManualClock
) -> None:
    term = await hold(manager)
    await clock.advance(10.0)
    store.before_answer["renew"] = asyncio.get_running_loop().create_future()
    renewal = asyncio.ensure_future(manager.renew(term))
    await settle()
    await clock.advance(3.0)
    store.before_answer["renew"].set_result(None)
    assert (await renewal).valid_for_seconds == 10.5


async def test_a_lost_term_is_over_at_once(manager: LeaseManager, table: Table, store: TableStore) -> None:
    term = await hold(manager)
    table.forget("a", sequence_too=False)
    with pytest.raises(LeaseLost, match="deleted"):
        await manager.renew(term)
    assert not leads(manager, term)
    assert manager.counters.lost[LostReason.REFUSED] == 1
    assert manager.counters.renew_failures[RenewFailure.LOST] == 1
    calls = len(store.calls)
    with pytest.raises(LeaseLost):
        await manager.renew(term)
    assert len(store.calls) == calls, "PostgreSQL was asked about a term that is known to be over"
    assert (await manager.acquire(wish(request_id="r2"))).standing.row.token > term.token


async def test_unknown_outcome_leaves_trust_as_it_was(
    manager: LeaseManager, store: TableStore, clock: ManualClock
) -> None:
    term = await hold(manager)

    def no_answer(call: str) -> None:
        raise LeaseUnknown("no answer")

    store.before_doing = no_answer
    await clock.advance(13.0)
    with pytest.raises(LeaseUnknown):
        await manager.renew(term)
    assert leads(manager, term)
    await clock.advance(0.5)
    assert not leads(manager, term)
    assert manager.counters.renew_failures[RenewFailure.UNKNOWN] == 1
    assert manager.counters.renew_seconds.cumulative()[-1][1] == 1


async def test_release_ends_trust_before_postgresql_is_told(manager: LeaseManager, store: TableStore) -> None:
    term = await hold(manager)
    led: list[bool] = []

    def look(call: str) -> None:
        led.append(leads(manager, term))
        raise LeaseUnknown("no answer")

    store.before_doing = look
    with pytest.raises(LeaseUnknown):
        await manager.release(term)
    assert led == [False]
    assert not leads(manager, term)


async def test_a_renewal_answered_after_the_release_does_not_bring_the_term_back(
    manager: LeaseManager, store: TableStore
) -> None:
    term = await hold(manager)
    store.before_answer["renew"] = asyncio.get_running_loop().create_future()
    renewal = asyncio.ensure_future(manager.renew(term))
    await settle()
    release = asyncio.ensure_future(manager.release(term))
    await settle()
    store.before_answer["renew"].set_result(None)
    with pytest.raises(LeaseLost):
        await renewal
    await release
    assert manager.leader("a") is None
    assert sum(manager.counters.lost.values()) == 0


async def test_release_may_be_repeated_and_is_refused_to_an_old_term(manager: LeaseManager) -> None:
    old = await hold(manager)
    await manager.release(old)
    await manager.release(old)
    new = await manager.acquire(wish(request_id="r2"))
    with pytest.raises(LeaseLost):
        await manager.release(old)
    assert leads(manager, TermKey("a", "pod-1", new.standing.row.token))
    with pytest.raises(LeaseNotFound):
        await manager.release(TermKey("b", "pod-1", 1))


async def test_a_stranger_can_not_end_trust_by_guessing(manager: LeaseManager) -> None:
    term = await hold(manager)
    for guess in (TermKey("a", "pod-2", term.token), TermKey("a", "pod-1", term.token + 1)):
        with pytest.raises(LeaseLost):
            await manager.renew(guess)
        with pytest.raises(LeaseLost):
            await manager.release(guess)
    assert leads(manager, term)


async def test_force_release_frees_and_tells_who_did_it_to_whom(manager: LeaseManager) -> None:
    told: list[ByForce] = []
    manager.on_forced.append(told.append)
    term = await hold(manager)
    await manager.force_release("a", actor="alice (::1)", reason="hangs")
    assert not leads(manager, term)
    assert manager.counters.lost[LostReason.FORCED] == 1
    (by_force,) = told
    assert (by_force.actor, by_force.reason, by_force.done) == ("alice (::1)", "hangs", True)
    assert (by_force.was.name, by_force.was.holder, by_force.was.token) == ("a", "pod-1", term.token)
    with pytest.raises(LeaseNotFound):
        await manager.force_release("a", actor="alice (::1)")
    assert told == [by_force]
    assert (await manager.acquire(wish(request_id="r2"))).standing.row.token > term.token


async def test_force_release_without_an_answer_is_told_as_not_done(manager: LeaseManager, store: TableStore) -> None:
    told: list[ByForce] = []
    manager.on_forced.append(told.append)
    await hold(manager)

    def no_answer(call: str) -> None:
        if call == "release":
            raise LeaseUnknown("no answer")

    store.before_doing = no_answer
    with pytest.raises(LeaseUnknown):
        await manager.force_release("a", actor="alice (::1)")
    assert [(by_force.was.holder, by_force.done) for by_force in told] == [("pod-1", False)]


async def test_get_and_list(manager: LeaseManager, clock: ManualClock) -> None:
    await hold(manager, "b")
    await hold(manager, "a")
    await clock.advance(5.0)
    assert (await manager.get("a")).valid_for_seconds == 10.0
    await clock.advance(50.0)
    assert (await manager.get("a")).valid_for_seconds == 0.0
    assert [standing.row.name for standing in await manager.list()] == ["a", "b"]
    with pytest.raises(LeaseNotFound):
        await manager.get("c")


async def test_a_newer_term_seen_in_passing_ends_trust(manager: LeaseManager, table: Table, clock: ManualClock) -> None:
    term = await hold(manager)
    kept, _ = table.rows["a"]
    table.rows["a"] = (kept, 0.0)
    table.acquire(wish(holder="pod-2", request_id="r2"), clock.boottime(), floor=0, earlier_token=None)
    await manager.get("a")
    assert not leads(manager, term)
    assert manager.counters.lost[LostReason.SUPERSEDED] == 1


async def test_one_poolguard_holds_a_bounded_number_of_leases(
    manager: LeaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "MAX_NAMES", 1)
    await hold(manager)
    with pytest.raises(LeaseBusy):
        await manager.acquire(wish(name="b"))


async def test_metrics_see_what_is_held(manager: LeaseManager, clock: ManualClock) -> None:
    term = await hold(manager)
    await clock.advance(3.5)
    (view,) = manager.counters.held()
    assert (view.name, view.token, view.valid_for_seconds, view.last_renew_age_seconds) == ("a", term.token, 10.0, 3.5)


# Life


async def test_without_postgresql_it_starts_all_the_same_and_gets_ready_later(
    store: TableStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolguard.lease.manager._START_SECONDS", 0.01)
    store.prepare_errors = [LeaseUnavailable("away", detail="connection refused") for _ in range(3)]
    manager = LeaseManager(store, Leases(), clock)
    await manager.start()
    ready = [manager.ready]
    assert manager.last_error == "away. connection refused"
    with pytest.raises(LeaseUnavailable) as caught:
        await manager.acquire(wish())
    assert caught.value.detail == "away. connection refused"
    await clock.advance(10.0)
    ready.append(manager.ready)
    assert ready == [False, True]
    assert manager.last_error == ""
    await hold(manager)
    await manager.stop()


async def test_draining_begins_no_terms_and_lets_those_that_run_go_on(manager: LeaseManager) -> None:
    term = await hold(manager)
    await manager.drain(0.0)
    with pytest.raises(ShuttingDown):
        await manager.acquire(wish(name="b"))
    await manager.renew(term)
    await manager.release(term)


async def test_stop_may_be_repeated_and_leaves_nothing_running(manager: LeaseManager, store: TableStore) -> None:
    await manager.stop()
    await manager.stop()
    assert store.closed
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("lease-")] == []
    with pytest.raises(ShuttingDown):
        await manager.get("a")


async def test_a_crash_of_its_own_is_told(
    store: TableStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    store.prepare_errors = [RuntimeError("bug")]
    manager = LeaseManager(store, Leases(), clock)
    starting = asyncio.ensure_future(manager.start())
    await settle()
    assert "RuntimeError" in manager.last_error
    assert "lease task failed" in caplog.text
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert store.closed


async def test_ready_ends_when_postgresql_no_longer_answers_and_comes_back_with_it(
    manager: LeaseManager, store: TableStore, clock: ManualClock
) -> None:
    """Also while nobody asks for anything."""

    def away(call: str) -> None:
        raise LeaseUnavailable("away")

    async def ready_after(seconds: float) -> bool:
        for _ in range(int(seconds / 5.0)):
            await clock.advance(5.0)
        return manager.ready

    assert await ready_after(50.0)
    store.before_doing = away
    assert not await ready_after(20.0)
    store.before_doing = lambda call: None
    assert await ready_after(5.0)


async def test_while_others_ask_postgresql_is_asked_nothing_more(
    manager: LeaseManager, store: TableStore, clock: ManualClock
) -> None:
    term = await hold(manager)
    for _ in range(10):
        await clock.advance(3.0)
        await manager.renew(term)
    assert "read_some" not in store.calls
