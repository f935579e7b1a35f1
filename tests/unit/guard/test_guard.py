"""The sweep, its actions, reloads and operators' orders; with fake hands on a manual clock."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from poolguard.core.errors import ClientViolation, IdleTransactionEnded, OldTransactionEnded, SettingsError, UnknownPool
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.actions import ACTION_SECONDS
from poolguard.guard.guard import LATE_SECONDS, SWEEP_SECONDS
from poolguard.guard.history import Action
from poolguard.guard.locks.state import Blocking
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import ANYHOW, Outcome, Still
from poolguard.settings.load import parse
from poolguard.settings.model import Pool, Settings
from poolguard.settings.policies import Budget, Ladder, Policy, PolicyMode
from tests.unit.guard.builders import LADDERS, NOW, Scene, active, idle, transaction


def leaks(number: int, seconds: float = 61.0) -> list[Transaction]:
    return [idle(seconds, session) for session in range(1, number + 1)]


async def test_a_leak_is_warned_of_once_then_rolled_back_once() -> None:
    scene = Scene()
    for seconds in (9.9, 10.0, 10.1, 59.9, 60.0, 60.1, 299.0, 301.0):
        await scene.clock.advance(NOW + seconds - scene.clock.monotonic())
        await scene.sweep(idle(seconds))
    assert scene.story() == [("warn", "done"), ("rollback", "done")]
    assert scene.hands.calls == [(Action.ROLLBACK, idle(1.0).id)]
    rollback, warning = scene.book.find()
    assert [step.incident for step in rollback.timeline] == [warning.id]


async def test_the_client_is_told_the_incident_that_the_book_has() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0))
    (incident,) = scene.book.find()
    (error,) = scene.hands.errors
    assert isinstance(error, IdleTransactionEnded)
    assert f"(incident {incident.id})" in error.message
    assert incident.client_sees is not None
    assert incident.client_sees.sqlstate == "25P03"


async def test_an_age_rule_says_25p04() -> None:
    scene = Scene()
    await scene.sweep(idle(1.0, transaction_seconds=500.0, checkout_seconds=500.0))
    assert isinstance(scene.hands.errors[0], OldTransactionEnded)


async def test_an_incident_tells_what_an_operator_asks() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0))
    (incident,) = scene.book.find()
    assert (incident.pool, incident.policy, incident.settings_hash) == ("app", "app", "abc")
    assert (incident.mode, incident.actor, incident.kills_left) == ("enforce", "guard", 29)
    assert incident.threshold is not None
    assert (incident.threshold.limit_seconds, incident.threshold.actual_seconds) == (60.0, 61.0)
    assert incident.transaction is not None
    assert incident.transaction.application_name == "checkout"
    assert [each.text for each in incident.transaction.fingerprints] == ["begin", "select ?"]
    assert incident.pool_state is not None
    assert incident.pool_state.size == 20
    assert incident.classification == "leak"
    assert '"checkout"' in incident.exemption
    assert "secret" not in str(incident.as_json())


async def test_actions_have_taken_their_first_step_when_the_sweep_returns() -> None:
    scene = Scene()
    scene.transactions = leaks(5)
    await scene.guard.sweep(NOW)
    assert len(scene.hands.calls) == 5


async def test_a_pool_full_of_leaks_is_empty_after_one_sweep() -> None:
    scene = Scene(size=10)
    await scene.sweep(*leaks(10))
    assert len({transaction for _, transaction in scene.hands.calls}) == 10
    assert scene.guard.counters.budget_exhausted == {}


async def test_a_hanging_action_holds_up_neither_sweeps_nor_other_actions() -> None:
    scene = Scene()
    scene.hands.blocked = asyncio.Event()
    await scene.sweep(active(50.0, 1))
    await scene.sweep(active(50.0, 1), idle(61.0, 2))
    assert [action for action, _ in scene.hands.calls] == [Action.CANCEL, Action.ROLLBACK]
    assert scene.story() == []
    scene.hands.blocked.set()
    await scene.settle()
    assert scene.story() == [("cancel", "done"), ("rollback", "done")]


async def test_a_rollback_without_an_answer_fails_and_terminate_follows() -> None:
    scene = Scene(replace(LADDERS, idle_in_transaction=Ladder(rollback=60.0, terminate=70.0)))
    scene.hands.blocked = asyncio.Event()
    await scene.sweep(idle(60.0))
    await scene.clock.advance(ACTION_SECONDS)
    await scene.sweep(idle(75.0))
    scene.hands.blocked.set()
    await scene.clock.advance(SWEEP_SECONDS)
    await scene.sweep(idle(75.1))
    assert scene.story() == [("rollback", "failed"), ("terminate", "done")]


async def test_a_refused_rollback_is_tried_again_until_it_is_done() -> None:
    scene = Scene()
    scene.hands.outcome = Outcome.REFUSED
    await scene.sweep(idle(60.0))
    await scene.sweep(idle(60.1))
    assert scene.story() == [("rollback", "refused")]
    scene.hands.outcome = Outcome.DONE
    await scene.clock.advance(0.3)
    await scene.sweep(idle(60.3))
    assert scene.story() == [("rollback", "refused"), ("rollback", "done")]


async def test_observe_says_what_would_have_been_done_and_never_touches_the_hands() -> None:
    scene = Scene(replace(LADDERS, mode=PolicyMode.OBSERVE))
    await scene.sweep(idle(11.0))
    await scene.clock.advance(50.0)
    await scene.sweep(idle(61.0))
    await scene.clock.advance(50.0)
    await scene.sweep(idle(111.0))
    assert scene.hands.calls == []
    assert scene.story() == [("warn", "observed"), ("rollback", "observed")]
    assert scene.guard.counters.matches == {("idle_in_transaction", "observe"): 2}


async def test_observing_on_the_command_line_beats_every_policy_and_reload() -> None:
    scene = Scene(observe=True)
    scene.guard.reconfigure(scene.settings(LADDERS), "def")
    await scene.sweep(idle(61.0))
    assert scene.hands.calls == []


async def test_an_exempt_transaction_is_left_alone_and_counted_once() -> None:
    scene = Scene()
    for seconds in (61.0, 900.0):
        await scene.sweep(idle(seconds, statement=b"select 1 /* poolguard:ignore */"))
    assert (scene.story(), scene.hands.calls) == ([], [])
    assert scene.guard.counters.spared == {("app", "comment"): 1}


async def test_an_exhausted_budget_withholds_loudly_once_and_goes_on_when_time_has_passed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(replace(LADDERS, budget=Budget(kills_per_minute=2, max_share_of_pool=1.0)))
    for _ in range(3):
        await scene.sweep(*leaks(4))
    assert scene.story() == [("rollback", "done")] * 2 + [("rollback", "budget")] * 2
    assert scene.guard.counters.budget_exhausted == {"app": 2}
    assert {one.spared_by for one in scene.book.find(outcome="budget")} == {"kills_per_minute"}, "which part of it"
    assert scene.guard.counters.exhausted_now == {"app"}
    assert sum("budget is used up" in message for message in caplog.messages) == 1
    await scene.clock.advance(60.0)
    await scene.sweep(*leaks(4, 121.0))
    assert [step for step in scene.story() if step[0] == "rollback"][-2:] == [("rollback", "done")] * 2
    assert scene.guard.counters.exhausted_now == set()


async def test_an_action_that_met_nobody_costs_no_budget() -> None:
    scene = Scene(replace(LADDERS, budget=Budget(kills_per_minute=1)))
    scene.hands.outcome = Outcome.VICTIM_MOVED
    await scene.sweep(idle(61.0, 1))
    scene.hands.outcome = Outcome.DONE
    await scene.sweep(idle(61.0, 2))
    assert scene.story() == [("rollback", "victim_moved"), ("rollback", "done")]


async def test_counters_count_by_pool_rule_action_and_outcome() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0, 1), idle(11.0, 2), active(50.0, 3))
    counters = scene.guard.counters
    assert counters.actions == {
        ("app", "idle_in_transaction", "rollback", "done"): 1,
        ("app", "idle_in_transaction", "warn", "done"): 1,
        ("app", "statement_age", "cancel", "done"): 1,
    }
    assert counters.matches == {("idle_in_transaction", "enforce"): 2, ("statement_age", "enforce"): 1}
    assert counters.sweeps == counters.sweep_seconds.cumulative()[-1][1] == 1


async def test_reloaded_settings_are_judged_by_from_the_next_sweep() -> None:
    scene = Scene(Policy())
    await scene.sweep(idle(61.0))
    scene.guard.reconfigure(scene.settings(LADDERS), "def")
    await scene.sweep(idle(61.0))
    assert scene.story() == [("rollback", "done")]
    assert scene.book.find()[0].settings_hash == "def"


async def test_turning_observe_to_enforce_does_what_was_only_observed() -> None:
    scene = Scene(replace(LADDERS, mode=PolicyMode.OBSERVE))
    await scene.sweep(idle(61.0))
    scene.guard.reconfigure(scene.settings(LADDERS), "def")
    await scene.sweep(idle(61.1))
    assert scene.story() == [("rollback", "observed"), ("rollback", "done")]


async def test_settings_without_the_policy_change_nothing() -> None:
    scene = Scene()
    broken = Settings(pools={"app": Pool(policy="gone")}, policies={})
    with pytest.raises(SettingsError, match=r"pools\.app\.policy: there is no policy named 'gone'"):
        scene.guard.reconfigure(broken, "bad")
    await scene.sweep(idle(61.0))
    assert scene.story() == [("rollback", "done")]
    assert scene.book.settings_hash == "abc"


async def test_a_pool_that_left_the_settings_drains_under_the_rules_that_it_had() -> None:
    scene = Scene()
    scene.guard.reconfigure(Settings(pools={"other": Pool(policy="app")}), "new")
    await scene.sweep(idle(61.0))
    assert scene.story() == [("rollback", "done")]


async def test_a_pool_that_no_settings_named_is_not_judged() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0, pool="gone"))
    assert scene.story() == []


async def test_by_hand_acts_outside_of_rules_and_budget() -> None:
    scene = Scene(replace(LADDERS, budget=Budget(kills_per_minute=0)))
    scene.transactions = [idle(1.0)]
    incident = await scene.guard.by_hand(idle(1.0).id, "rollback", "alice (10.0.0.1)")
    assert scene.hands.calls == [(Action.ROLLBACK, idle(1.0).id)]
    assert (incident.kind, incident.actor, incident.outcome) == ("by_hand", "alice (10.0.0.1)", "done")
    assert (incident.rule, incident.policy) == (None, "app")
    assert scene.book.find() == [incident]
    assert scene.guard.counters.actions == {("app", "by_hand", "rollback", "done"): 1}
    assert scene.hands.errors[0].sqlstate == "57000"


async def test_by_hand_leaves_nothing_for_the_guard_to_end() -> None:
    scene = Scene()
    scene.transactions = [idle(1.0)]
    await scene.guard.by_hand(idle(1.0).id, "rollback", "alice")
    await scene.clock.advance(60)
    await scene.sweep(idle(61.0))
    assert scene.story() == [("rollback", "done")]


async def test_by_hand_on_nobody_or_with_another_action_is_a_clear_error() -> None:
    scene = Scene()
    with pytest.raises(UnknownPool, match="no transaction 7-1 holds a server"):
        await scene.guard.by_hand(TransactionId(SessionId(7), 1), "cancel", "alice")
    with pytest.raises(ClientViolation, match="no such action: 'warn'"):
        await scene.guard.by_hand(TransactionId(SessionId(7), 1), "warn", "alice")


async def test_by_hand_is_refused_while_another_action_is_under_way() -> None:
    scene = Scene()
    scene.hands.blocked = asyncio.Event()
    await scene.sweep(idle(61.0))
    incident = await scene.guard.by_hand(idle(61.0).id, "terminate", "alice")
    assert incident.outcome == "refused"
    assert len(scene.hands.calls) == 1
    await scene.guard.stop()


async def test_by_hand_goes_on_when_the_caller_goes_away() -> None:
    scene = Scene()
    scene.transactions = [idle(1.0)]
    scene.hands.blocked = asyncio.Event()
    caller = asyncio.ensure_future(scene.guard.by_hand(idle(1.0).id, "terminate", "alice"))
    await scene.settle()
    caller.cancel()
    scene.hands.blocked.set()
    await scene.settle()
    assert caller.cancelled()
    assert scene.story() == [("terminate", "done")]


async def test_the_service_sweeps_ten_times_a_second_until_it_is_stopped() -> None:
    scene = Scene()
    await scene.run(1.05)
    assert scene.guard.counters.sweeps == 11
    await scene.guard.stop()
    await scene.go_on(1.0)
    assert scene.guard.counters.sweeps == 11
    await scene.guard.stop()


@pytest.mark.parametrize("begun", [0.0, 0.03, 0.0999])
async def test_a_leak_is_ended_within_200_ms_of_its_threshold(begun: float) -> None:
    scene = Scene(Policy(idle_in_transaction=Ladder(rollback=2.0)))
    scene.look = lambda now: [idle(max(0.0, now - NOW - begun))]
    await scene.run(3.0)
    await scene.guard.stop()
    (incident,) = scene.book.find()
    assert incident.threshold is not None
    assert 2.0 <= incident.threshold.actual_seconds <= 2.0 + 1.01 * SWEEP_SECONDS
    assert incident.outcome_seconds < SWEEP_SECONDS


async def test_a_sweep_that_raises_is_logged_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    times: list[float] = []

    def look(now: float) -> Sequence[Transaction]:
        times.append(now)
        if len(times) == 1:
            raise RuntimeError("bug")
        return leaks(1)

    scene.look = look
    await scene.run(0.15)
    await scene.guard.stop()
    assert scene.guard.counters.sweep_failures == 1
    assert "a sweep of the guard raised" in caplog.messages
    assert scene.story() == [("rollback", "done")]


class SlowClock:
    """Passes `slow` seconds more with each sweep than it was asked to sleep."""

    def __init__(self, slow: float) -> None:
        self.now, self.slow, self.asked = NOW, slow, asyncio.Event()
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep_until(self, deadline: float) -> None:
        self.sleeps.append(deadline - self.now)
        self.now = max(self.now, deadline) + self.slow
        if len(self.sleeps) == 5:
            self.asked.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


@pytest.mark.parametrize(("slow", "judged"), [(0.5, 5), (LATE_SECONDS, 1)])
async def test_after_a_standstill_nothing_is_judged_before_clients_were_heard(
    slow: float, judged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What they said meanwhile lies unread in the sockets: they only look idle."""
    caplog.set_level(logging.WARNING)
    scene, clock = Scene(), SlowClock(slow)
    scene.guard._clock = clock
    await scene.guard.start()
    await clock.asked.wait()
    await scene.guard.stop()
    assert scene.guard.counters.sweeps == judged
    assert scene.guard.counters.late_sweeps == 5 - judged
    assert ("the process stood still: this sweep judges nothing" in caplog.messages) == (judged < 5)


async def test_slow_sweeps_are_not_repaid_in_bursts() -> None:
    scene, clock = Scene(), SlowClock(0.35)
    scene.guard._clock = clock
    await scene.guard.start()
    await clock.asked.wait()
    await scene.guard.stop()
    assert clock.sleeps[0] == pytest.approx(SWEEP_SECONDS)
    assert scene.guard.counters.sweeps == 5


async def test_drain_waits_for_actions_and_sweeps_go_on() -> None:
    scene = Scene()
    scene.hands.blocked = asyncio.Event()
    await scene.guard.start()
    await scene.sweep(idle(61.0))
    draining = asyncio.ensure_future(scene.guard.drain(scene.clock.monotonic() + 60))
    await scene.go_on(1.0)
    assert not draining.done()
    scene.hands.blocked.set()
    await draining
    before = scene.guard.counters.sweeps
    await scene.go_on(1.0)
    assert scene.guard.counters.sweeps > before
    await scene.guard.stop()


async def test_stop_leaves_no_task_and_an_incident_for_what_was_under_way() -> None:
    scene = Scene()
    scene.hands.blocked = asyncio.Event()
    await scene.guard.start()
    await scene.sweep(*leaks(3))
    await scene.guard.stop()
    assert scene.story() == [("rollback", "failed")] * 3
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_failed_transactions_are_ended_as_idle_ones() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0, phase=Phase.FAILED_TRANSACTION))
    assert scene.story() == [("rollback", "done")]
    assert scene.book.find()[0].classification == "failed_and_left"


async def test_a_rule_on_blocking_knows_whose_locks_others_wait_for() -> None:
    text = "policies: {app: {rules: [{name: root, when: {blocking: '>=2', idle_for: 1s}, then: {rollback: 0s}}]}}"
    scene = Scene(parse(text, "f", {}).settings.policies["app"])
    scene.blocking = {idle(5.0, 1).id: Blocking(2, 3.0), idle(5.0, 2).id: Blocking(1, 3.0)}
    await scene.sweep(idle(5.0, 1), idle(5.0, 2), idle(5.0, 3))
    assert scene.hands.calls == [(Action.ROLLBACK, idle(5.0, 1).id)]
    (incident,) = scene.book.find()
    assert incident.transaction is not None
    assert (incident.transaction.blocking, incident.transaction.blocking_seconds) == (2, 3.0)
    assert [(matched.key, matched.found) for matched in incident.matched] == [("idle_for", "5.0s"), ("blocking", "2")]


async def test_what_is_protected_is_told_once_and_never_done() -> None:
    scene = Scene()
    for seconds in (61.0, 62.0):
        await scene.sweep(idle(seconds, recent=(b"create table t (a int)",), statement=b"select 1"))
    assert scene.hands.calls == []
    assert scene.story() == [("rollback", "spared")]
    assert scene.book.find()[0].spared_by == "statement_class"
    assert scene.guard.counters.spared == {("app", "statement_class"): 1}


async def test_an_action_names_the_transaction_and_for_idle_ones_the_statement_that_was_judged() -> None:
    scene = Scene()
    await scene.sweep(idle(61.0, statements=7), transaction(2, phase=Phase.PINNED, checkout_seconds=2500.0))
    by_checkout, by_rollback = scene.hands.stills  # the oldest first
    assert by_rollback == Still(began_at=NOW - 62.0, statements=7)
    assert by_checkout == ANYHOW


async def test_what_looked_like_a_leak_is_counted_by_how_it_came_to_its_end() -> None:
    scene = Scene()
    scene.guard._has_session = lambda session: session == 2
    await scene.sweep(idle(61.0, 1), idle(11.0, 2), idle(11.0, 3), idle(9.0, 4))
    await scene.sweep()
    assert scene.guard.counters.leaks == {
        ("app", "ended"): 1,
        ("app", "returned"): 1,
        ("app", "disconnected"): 1,
    }
