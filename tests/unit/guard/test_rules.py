"""Which step is due, for which phase and age; and who is exempt."""

from typing import Any

import pytest

from poolguard.guard.case import Case
from poolguard.guard.exemptions import Spared
from poolguard.guard.history import Action, History, RuleName
from poolguard.guard.judge import judge
from poolguard.guard.rules import compile_policy
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from poolguard.settings.matching import RuleState, When
from poolguard.settings.policies import Exempt, Ladder, Policy, Rule
from tests.unit.guard.builders import LADDERS, NOW, active, idle, transaction

IDLE, AGE = RuleName.IDLE_IN_TRANSACTION, RuleName.TRANSACTION_AGE
STATEMENT, CHECKOUT = RuleName.STATEMENT_AGE, RuleName.CHECKOUT_AGE
WARN, CANCEL, ROLLBACK, TERMINATE = Action
RULES = compile_policy("app", LADDERS)


def due(facts: Transaction, history: History | None = None, now: float = NOW) -> list[tuple[str, Action]]:
    judgement = judge(facts, RULES, history or History(), now)
    return [(verdict.rule, verdict.action) for verdict in judgement.verdicts]


def failed(seconds: float) -> Transaction:
    return idle(seconds, phase=Phase.FAILED_TRANSACTION)


def pinned(seconds: float) -> Transaction:
    return idle(seconds, phase=Phase.PINNED, pin="LISTEN")


def chatty(seconds: float, phase: Phase) -> Transaction:
    """Open for long, but its last statement began only now."""
    ages: dict[str, Any] = {"transaction_seconds": seconds, "checkout_seconds": seconds}
    return transaction(phase=phase, phase_seconds=0.1, statement_seconds=0.1 if phase is Phase.ACTIVE else 0.0, **ages)


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        (idle(9.9), []),
        (idle(10.0), [(IDLE, WARN)]),
        (failed(10.0), [(IDLE, WARN)]),
        (idle(60.0), [(IDLE, ROLLBACK)]),
        (failed(60.0), [(IDLE, ROLLBACK)]),
        (idle(300.0), [(IDLE, TERMINATE), (AGE, WARN)]),
        (active(19.9), []),
        (active(20.0), [(STATEMENT, WARN)]),
        (active(50.0), [(STATEMENT, CANCEL)]),
        (active(150.0), [(AGE, WARN), (STATEMENT, TERMINATE)]),
        (chatty(99.9, Phase.ACTIVE), []),
        (chatty(100.0, Phase.ACTIVE), [(AGE, WARN)]),
        (chatty(100.0, Phase.FAILED_TRANSACTION), [(AGE, WARN)]),
        (chatty(200.0, Phase.ACTIVE), [(AGE, CANCEL)]),
        (chatty(200.0, Phase.IDLE_IN_TRANSACTION), [(AGE, WARN)]),  # nothing to cancel
        (chatty(400.0, Phase.ACTIVE), [(AGE, CANCEL)]),  # a rollback waits for the statement's end
        (chatty(400.0, Phase.IDLE_IN_TRANSACTION), [(AGE, ROLLBACK)]),
        (chatty(800.0, Phase.ACTIVE), [(AGE, TERMINATE), (CHECKOUT, WARN)]),
        (pinned(599.0 - 1), []),
        (pinned(600.0), [(CHECKOUT, WARN)]),
        (pinned(2000.0), [(CHECKOUT, TERMINATE)]),
    ],
)
def test_the_harshest_step_that_is_due_and_possible(facts: Transaction, steps: list[tuple[RuleName, Action]]) -> None:
    assert due(facts) == steps


def test_verdict_tells_what_was_measured() -> None:
    (verdict,) = judge(idle(61.5), RULES, History(), NOW).verdicts
    assert (verdict.policy, verdict.limit_seconds, verdict.actual_seconds) == ("app", 60.0, 61.5)


def test_a_step_is_due_once_then_the_next() -> None:
    history = History()
    story = []
    for seconds in (10, 11, 59, 60, 61, 400):
        facts, now = idle(float(seconds)), NOW + seconds
        judgement = judge(facts, RULES, history, now)
        history = judgement.history
        for verdict in judgement.verdicts:
            if verdict.rule is IDLE:
                story.append((seconds, verdict.action))
            history = history.after(verdict.rule, verdict.action, Outcome.DONE, facts, seen=now, now=now)
    assert story == [(10, WARN), (60, ROLLBACK)]  # after a rollback that was done, nothing more


def test_a_rollback_that_failed_is_followed_by_terminate_but_not_by_warn() -> None:
    history = History().continued(idle(60.0), NOW)
    history = history.after(IDLE, ROLLBACK, Outcome.FAILED, idle(60.0), seen=NOW, now=NOW)
    assert due(idle(60.1), history, NOW + 0.1) == []
    assert due(idle(60.3), history, NOW + 0.3) == [(IDLE, ROLLBACK)]
    assert (IDLE, TERMINATE) in due(idle(300.0), history, NOW + 0.1)


def test_each_statement_is_cancelled_once() -> None:
    history = (
        History().continued(active(50.0), NOW).after(STATEMENT, CANCEL, Outcome.DONE, active(50.0), seen=NOW, now=NOW)
    )
    assert due(active(51.0), history, NOW + 1) == []
    next_statement = active(50.0, transaction_seconds=70.0, checkout_seconds=70.0)
    assert due(next_statement, history, NOW + 20) == [(STATEMENT, CANCEL)]


def test_another_transaction_of_the_same_checkout_starts_afresh_but_for_checkout_age() -> None:
    first = pinned(700.0)
    history = judge(first, RULES, History(), NOW).history
    history = history.after(CHECKOUT, WARN, Outcome.DONE, first, seen=NOW, now=NOW)
    history = history.after(IDLE, ROLLBACK, Outcome.DONE, first, seen=NOW, now=NOW)
    assert due(idle(60.0, checkout_seconds=800.0), history, NOW + 100) == [(IDLE, ROLLBACK)]


def test_a_checkout_that_stays_pinned_after_its_rollback_can_still_grow_too_old() -> None:
    history = History().continued(idle(60.0), NOW).after(IDLE, ROLLBACK, Outcome.DONE, idle(60.0), seen=NOW, now=NOW)
    assert due(idle(2000.0), history, NOW + 1940) == []
    assert due(pinned(2000.0), history, NOW + 1940) == [(CHECKOUT, TERMINATE)]


@pytest.mark.parametrize("statement", [b"COMMIT", b" end ;", b"/* x */ commit", b"PREPARE TRANSACTION 'x'"])
def test_a_commit_under_way_is_never_cut(statement: bytes) -> None:
    assert due(active(5000.0, statement=statement)) == [(AGE, WARN), (STATEMENT, WARN), (CHECKOUT, WARN)]


def test_an_exempt_transaction_gets_no_verdict_and_stays_exempt() -> None:
    judgement = judge(idle(700.0, application_name="pg_dump"), RULES, History(), NOW)
    assert (judgement.verdicts, judgement.spared) == ((), Spared.APPLICATION_NAME)
    again = judge(idle(701.0, application_name="renamed"), RULES, judgement.history, NOW + 1)
    assert (again.verdicts, again.spared) == ((), None)


@pytest.mark.parametrize(
    ("changes", "exempt"),
    [
        ({"application_name": "pg_dump"}, True),
        ({"application_name": "pg_restore: worker"}, True),
        ({"application_name": "PG_DUMP"}, False),
        ({"application_name": "xpg_dump"}, False),
        ({"application_name": ""}, False),
        ({"statement": b"select 1 /* poolguard:ignore */"}, True),
        ({"recent": (b"-- poolguard:ignore\nbegin", b"select 1")}, True),
        ({"statement": b"select 'poolguard:ignore'"}, False),
    ],
)
def test_exempt_by_application_name_or_by_a_marker_in_any_recent_statement(
    changes: dict[str, Any], exempt: bool
) -> None:
    assert (RULES.exempt.whom(Case(idle(700.0, **changes))) is not None) is exempt


def test_exemptions_can_be_switched_off() -> None:
    policy = Policy(idle_in_transaction=Ladder(warn=1.0), exempt=Exempt(application_name=(), comment=None))
    rules = compile_policy("p", policy)
    facts = idle(5.0, application_name="pg_dump", statement=b"select 1 /* poolguard:ignore */")
    assert [verdict.action for verdict in judge(facts, rules, History(), NOW).verdicts] == [WARN]


def test_a_policy_without_ladders_never_matches() -> None:
    assert judge(idle(1e6), compile_policy("p", Policy()), History(), NOW).verdicts == ()


def test_a_rule_of_zero_seconds_is_due_at_once() -> None:
    rule = Rule(name="now", when=When(state=(RuleState.IDLE_IN_TRANSACTION,)), then=Ladder(rollback=0.0))
    rules = compile_policy("p", Policy(rules=(rule,)))
    assert [verdict.action for verdict in judge(idle(0.0), rules, History(), NOW).verdicts] == [ROLLBACK]
