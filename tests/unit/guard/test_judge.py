"""Rules of the long form: when they match, for how long, and what they may end."""

from dataclasses import replace
from typing import Any

from poolguard.guard.case import Case
from poolguard.guard.exemptions import Spared
from poolguard.guard.history import Action, History
from poolguard.guard.incidents import PoolState
from poolguard.guard.judge import Judgement, judge, judge_case, reads_statements
from poolguard.guard.rules import compile_policy
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from poolguard.settings.load import parse
from poolguard.settings.policies import IdleBlocker, Policy, PolicyMode
from tests.unit.guard.builders import LADDERS, NOW, active, idle

WARN, CANCEL, ROLLBACK, TERMINATE = Action


def policy(*rules: str, more: str = "") -> Policy:
    text = f"policies: {{app: {{rules: [{', '.join(rules)}]{more}}}}}"
    return parse(text, "f", {}).settings.policies["app"]


def pool(waiting: int = 0, held: int = 5) -> PoolState:
    return PoolState(
        size=10,
        idle=0,
        held=held,
        opening=0,
        waiting=waiting,
        oldest_wait_seconds=float(waiting),
        sessions=9,
        pinned=0,
        utilisation=held / 10,
    )


def steps(judgement: Judgement) -> list[tuple[str, Action]]:
    return [(verdict.rule, verdict.action) for verdict in judgement.verdicts]


LEAKED = (
    "{name: leaked, when: {state: idle_in_transaction, idle_for: 10s, wrote: false}, then: {warn: 0s, rollback: 5s}}"
)
PRESSED = "{name: pressed, when: {state: idle_in_transaction, waiters: 1}, then: {warn: 0s, rollback: 2s}}"


def reading(seconds: float, **changes: Any) -> Transaction:
    return idle(seconds, statement=b"select 1", recent=(b"select 1",), statements=1, **changes)


def test_steps_count_from_when_all_keys_hold() -> None:
    rules = compile_policy("app", policy("{name: a, when: {idle_for: 10s, user: bob}, then: {warn: 0s, rollback: 5s}}"))
    assert [steps(judge(reading(age), rules, History(), NOW)) for age in (9.9, 10.0, 14.9, 15.0)] == [
        [],
        [("a", WARN)],
        [("a", WARN)],
        [("a", ROLLBACK)],
    ]


def test_every_key_must_hold() -> None:
    rules = compile_policy("app", policy(LEAKED))
    wrote = idle(100.0, statement=b"update t set a = 1", recent=(b"update t set a = 1",), statements=1)
    assert steps(judge(wrote, rules, History(), NOW)) == []


def test_what_no_key_can_tell_counts_from_the_first_look_that_saw_it_and_afresh_after_a_gap() -> None:
    rules, history, story = compile_policy("app", policy(PRESSED)), History(), []
    for second, waiting in enumerate([1, 1, 1, 0, 1, 1, 1]):
        judgement = judge(reading(100.0 + second), rules, history, NOW + second, pool(waiting))
        history = judgement.history
        story.append([action for _, action in steps(judgement)])
    assert story == [[WARN], [WARN], [ROLLBACK], [], [WARN], [WARN], [ROLLBACK]]


def test_the_first_rules_are_those_that_are_written_then_the_ladders() -> None:
    rules = compile_policy("app", replace(LADDERS, rules=policy(LEAKED, PRESSED).rules))
    judgement = judge(reading(300.0), rules, History(), NOW, pool(1))
    assert [rule for rule, _ in steps(judgement)] == ["leaked", "pressed", "idle_in_transaction", "transaction_age"]


def test_a_rule_has_a_mode_of_its_own_and_observe_for_all_beats_it() -> None:
    watched = LEAKED.replace("name: leaked", "name: leaked, mode: observe")
    given = replace(LADDERS, rules=policy(watched).rules)
    assert [rule.mode for rule in compile_policy("app", given).rules[:2]] == [PolicyMode.OBSERVE, PolicyMode.ENFORCE]
    enforcing = policy(LEAKED.replace("name: leaked", "name: leaked, mode: enforce"))
    assert {rule.mode for rule in compile_policy("app", enforcing, observe=True).rules} == {PolicyMode.OBSERVE}


def test_what_an_observing_rule_would_have_ended_an_enforcing_one_still_may() -> None:
    watched = policy(LEAKED.replace("name: leaked", "name: leaked, mode: observe"))
    rules = compile_policy("app", replace(LADDERS, rules=watched.rules))
    history = History().continued(reading(60.0), NOW)
    history = history.after("leaked", ROLLBACK, Outcome.DONE, reading(60.0), seen=NOW, now=NOW, observed=True)
    assert steps(judge(reading(60.1), rules, history, NOW + 0.1)) == [("idle_in_transaction", ROLLBACK)]


def test_an_exemption_of_its_own_spares_from_that_rule_only() -> None:
    exempting = LEAKED.replace("then:", "exempt: {application_name: checkout}, then:")
    rules = compile_policy("app", replace(LADDERS, rules=policy(exempting).rules))
    assert steps(judge(reading(60.0), rules, History(), NOW)) == [("idle_in_transaction", ROLLBACK)]


def test_protected_work_is_warned_of_and_what_would_have_ended_it_is_told() -> None:
    migration = active(60.0, statement=b"alter table t add b int", recent=(), statements=1)
    rules = compile_policy("app", LADDERS)
    judgement = judge(migration, rules, History(), NOW)
    ((verdict, reason),) = judgement.protected
    assert (judgement.verdicts, verdict.action, reason) == ((), CANCEL, Spared.STATEMENT_CLASS)
    assert steps(judge(replace(migration, statement_seconds=20.0), rules, History(), NOW)) == [("statement_age", WARN)]


def test_a_verdict_tells_what_each_key_wanted_and_what_was_found() -> None:
    rules = compile_policy("app", policy(LEAKED))
    (verdict,) = judge(reading(20.0), rules, History(), NOW).verdicts
    assert verdict.matched == (
        ("state", "idle_in_transaction", "idle_in_transaction"),
        ("idle_for", "10s", "20.0s"),
        ("wrote", "false", "false"),
    )
    assert (verdict.limit_seconds, verdict.actual_seconds) == (5.0, 10.0)


def test_statements_are_read_only_if_the_cheap_keys_hold() -> None:
    rules = compile_policy("app", policy(LEAKED))
    assert not reads_statements(Case(reading(9.0)), rules, History(), NOW)
    assert not reads_statements(Case(active(99.0)), rules, History(), NOW)
    assert reads_statements(Case(reading(10.0)), rules, History(), NOW)
    exempt = replace(History().continued(reading(99.0), NOW), exempt=True)
    assert not reads_statements(Case(reading(99.0)), rules, exempt, NOW)


def test_without_the_pools_state_no_key_about_it_holds() -> None:
    rules = compile_policy("app", policy(PRESSED))
    assert rules.asks_pool
    assert steps(judge_case(Case(reading(100.0)), rules, History(), NOW)) == []


def test_an_idle_blocker_is_one_that_stands_idle_while_others_wait() -> None:
    rules = compile_policy("app", Policy(idle_blocker=IdleBlocker(warn=2.0, rollback=10.0)))
    story = [
        (reading(99.0), []),
        (reading(99.0, blocking=1, blocking_seconds=1.9), []),
        (reading(99.0, blocking=1, blocking_seconds=2.0), [("idle_blocker", WARN)]),
        (reading(9.9, blocking=1, blocking_seconds=30.0), [("idle_blocker", WARN)]),
        (reading(10.0, blocking=1, blocking_seconds=30.0), [("idle_blocker", ROLLBACK)]),
        (active(99.0, blocking=1, blocking_seconds=30.0), []),
    ]
    assert [steps(judge(facts, rules, History(), NOW)) for facts, _ in story] == [due for _, due in story]


def test_statements_of_what_was_warned_of_are_not_read_again() -> None:
    rules = compile_policy("app", LADDERS)
    assert reads_statements(Case(idle(30.0)), rules, History(), NOW)
    warned = History().continued(idle(30.0), NOW)
    warned = warned.after("idle_in_transaction", WARN, Outcome.DONE, idle(30.0), seen=NOW, now=NOW)
    assert not reads_statements(Case(idle(31.0)), rules, warned, NOW + 1)
