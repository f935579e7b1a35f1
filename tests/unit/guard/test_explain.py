"""An explanation says of each rule and key whether it held, and where each step stands."""

import json
from dataclasses import replace

from poolguard.guard.case import Case
from poolguard.guard.explain import StepState, explain
from poolguard.guard.history import Action, History
from poolguard.guard.rules import compile_policy
from poolguard.ledger.hands import Outcome
from tests.unit.guard.builders import LADDERS, NOW, active, idle
from tests.unit.guard.test_judge import LEAKED, PRESSED, policy, pool, reading

RULES = compile_policy("app", replace(LADDERS, rules=policy(LEAKED, PRESSED).rules))


def test_each_key_says_what_it_wanted_and_what_was_found() -> None:
    told = explain(Case(reading(12.0), pool(0)), RULES, History(), NOW)
    leaked, pressed = told.rules[:2]
    assert (leaked.matches, leaked.matched_seconds) == (True, 2.0)
    assert all(key.holds for key in leaked.keys)
    assert [(key.key, key.found, key.holds) for key in pressed.keys] == [
        ("state", "idle_in_transaction", True),
        ("waiters", "0", False),
    ]
    assert not pressed.matches
    assert told.verdict == "warn by leaked"


def test_steps_are_taken_due_ahead_or_not_possible() -> None:
    history = History().continued(reading(70.0), NOW)
    history = history.after("idle_in_transaction", Action.WARN, Outcome.DONE, reading(70.0), seen=NOW, now=NOW)
    rules = {rule.rule: rule for rule in explain(Case(reading(70.0), pool(0)), RULES, history, NOW).rules}
    assert [(step.state, step.in_seconds) for step in rules["idle_in_transaction"].steps] == [
        (StepState.TAKEN, 0.0),
        (StepState.DUE, 0.0),
        (StepState.AHEAD, 230.0),
    ]
    assert {step.state for step in rules["statement_age"].steps} == {StepState.NO_MATCH}
    assert rules["transaction_age"].steps[1].state is StepState.NOT_POSSIBLE


def test_what_is_spared_and_who_is_exempt_is_told_with_its_reason() -> None:
    migration = Case(active(60.0, statement=b"alter table t add b int", recent=(), statements=1))
    rules = {rule.rule: rule for rule in explain(migration, RULES, History(), NOW).rules}
    assert rules["statement_age"].spared_by == "statement_class"
    assert rules["statement_age"].steps[1].state is StepState.SPARED
    assert explain(Case(idle(99.0, application_name="pg_dump")), RULES, History(), NOW).exempt == "application_name"


def test_its_json_holds_no_literal() -> None:
    secret = idle(99.0, statement=b"select 'hunter2'", recent=(b"select 'hunter2'",))
    text = json.dumps(explain(Case(secret, pool(1)), RULES, History(), NOW).as_json())
    assert "hunter2" not in text


def test_where_texts_are_not_to_be_shown_it_does_not_say_which_was_found() -> None:
    rules = compile_policy("app", policy("{name: r, when: {statement: ^select, pool: app}, then: {warn: 0s}}"))
    explanation = explain(Case(reading(5.0), pool(0)), rules, History(), NOW)
    silent = explanation.without_text()
    found = {key.key: key.found for key in explanation.rules[0].keys}
    assert {key.key: key.found for key in silent.rules[0].keys} == found | {"statement": "omitted"}
    assert found["statement"] != "omitted"
