"""The guard's counters become readings, with zeros for what may yet happen."""

from poolguard.guard.counters import GuardCounters
from poolguard.guard.exemptions import Spared
from poolguard.metrics import catalogue as c
from poolguard.metrics.catalogue import Metric
from poolguard.metrics.guard_readings import guard_readings, possible_actions
from poolguard.settings.model import Pool, Settings
from poolguard.settings.policies import Ladder, Policy

SETTINGS = Settings(
    pools={"app": Pool(policy="only"), "orphan": Pool(policy="gone")},
    policies={"only": Policy(idle_in_transaction=Ladder(warn=1.0, rollback=2.0))},
)


def told(metric: Metric, guard: GuardCounters) -> dict[tuple[str, ...], object]:
    return {reading.labels: reading.value for reading in guard_readings(guard, SETTINGS) if reading.metric is metric}


def test_each_step_of_a_pools_policy_is_there_before_it_is_taken() -> None:
    assert set(possible_actions(SETTINGS)) == {
        ("app", "idle_in_transaction", action, outcome)
        for action in ("warn", "rollback")
        for outcome in ("done", "failed")
    }


def test_what_was_done_is_added_to_the_zeros() -> None:
    guard = GuardCounters()
    guard.actions["app", "idle_in_transaction", "rollback", "done"] = 3
    guard.actions["app", "by_hand", "terminate", "victim_moved"] = 1

    actions = told(c.POLICY_ACTIONS, guard)

    assert actions["app", "idle_in_transaction", "rollback", "done"] == 3
    assert actions["app", "by_hand", "terminate", "victim_moved"] == 1
    assert actions["app", "idle_in_transaction", "warn", "done"] == 0


def test_matches_are_there_for_every_rule_and_mode() -> None:
    guard = GuardCounters()
    guard.matches["statement_age", "observe"] = 2

    matches = told(c.POLICY_MATCHES, guard)

    assert len(matches) == 10
    assert matches["statement_age", "observe"] == 2


def test_an_exhausted_budget_is_told_with_its_policy() -> None:
    guard = GuardCounters()
    guard.budget_exhausted["only"] = 4
    guard.exhausted_now.add("only")

    assert told(c.BUDGET_EXHAUSTED, guard) == {("only",): 4}
    assert told(c.BUDGET_SPENT, guard) == {("only",): 1}


def test_what_was_spared_is_told_by_reason_from_the_start() -> None:
    guard = GuardCounters()
    guard.spared["only", "comment"] = 2
    spared = told(c.SPARED, guard)
    assert spared["only", "comment"] == 2
    assert {reason for policy, reason in spared if policy == "only"} == {reason.value for reason in Spared}
