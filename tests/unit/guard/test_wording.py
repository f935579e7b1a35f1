"""What clients and operators are told."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import EndedByOperator, IdleTransactionEnded, OldTransactionEnded
from poolguard.guard.case import Case
from poolguard.guard.history import Action, RuleName
from poolguard.guard.incidents import Classification
from poolguard.guard.rules import compile_policy
from poolguard.guard.wording import ADVICE, client_sees, error_by_hand, error_for, exemption_for
from poolguard.settings.policies import Exempt
from tests.unit.guard.builders import LADDERS, active, idle, verdict

RULES = compile_policy("app", LADDERS)


def test_error_names_rule_ages_and_incident_and_says_what_to_set() -> None:
    error = error_for(verdict(facts=idle(61.0)), "6740-7")
    assert error.message == (
        "poolguard rolled this transaction back: idle in transaction for 1m1s, rule idle_in_transaction allows 1m "
        "(incident 6740-7)"
    )
    assert error.detail == (
        "policies.app.idle_in_transaction.rollback is 1m; transaction 1-1 of pool app: idle in transaction for 1m1s, "
        "open for 1m2s, server held for 1m2s, 2 statements. Nothing of the open transaction was committed."
    )
    assert "Send ROLLBACK" in error.hint
    assert "raise policies.app.idle_in_transaction.rollback" in error.hint
    assert "policies.app.exempt.application_name" in error.hint


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (rule, IdleTransactionEnded if rule is RuleName.IDLE_IN_TRANSACTION else OldTransactionEnded)
        for rule in RuleName
    ],
)
def test_idle_rules_say_25p03_and_age_rules_25p04(rule: RuleName, kind: type) -> None:
    assert type(error_for(verdict(rule=rule), "x")) is kind


def test_a_terminated_session_is_told_to_connect_again() -> None:
    error = error_for(verdict(Action.TERMINATE, active(900.0), rule=RuleName.STATEMENT_AGE), "x")
    assert error.message.startswith("poolguard ended this session: statement running for")
    assert "was cancelled" in error.detail
    assert error.hint.startswith("Connect again.")


def test_an_operators_end_says_so() -> None:
    error = error_by_hand(idle(5.0), Action.ROLLBACK, "x-1")
    assert isinstance(error, EndedByOperator)
    assert "operator's order (incident x-1)" in error.message


def test_no_error_holds_a_literal() -> None:
    for action in (Action.ROLLBACK, Action.TERMINATE):
        error = error_for(verdict(action), "x")
        assert "secret" not in f"{error.message}{error.detail}{error.hint}"


def test_what_the_client_sees() -> None:
    error = error_for(verdict(), "x")
    told = {action: client_sees(action, error) for action in Action}
    assert told[Action.WARN] is None
    assert {action: (seen.sqlstate, seen.severity) for action, seen in told.items() if seen is not None} == {
        Action.CANCEL: ("57014", "ERROR"),
        Action.ROLLBACK: ("25P03", "ERROR"),
        Action.TERMINATE: ("25P03", "FATAL"),
    }


def test_every_classification_has_its_advice() -> None:
    assert set(ADVICE) == set(Classification)


def _pasted(text: str) -> Exempt:
    exempt = yaml.safe_load(text)["policies"]["app"]["exempt"]
    return Exempt(application_name=tuple(exempt["application_name"]), comment=exempt["comment"])


@given(st.text(min_size=1, max_size=64))
def test_the_pasted_exemption_exempts_that_application_and_keeps_those_before(name: str) -> None:
    facts = idle(61.0, application_name=name)
    pasted = _pasted(exemption_for(facts, RULES))
    rules = compile_policy("app", replace(LADDERS, exempt=pasted))
    assert rules.exempt.whom(Case(facts)) is not None
    assert set(LADDERS.exempt.application_name) <= set(pasted.application_name)
    other = Case(idle(61.0, application_name=f"{name}-other"))
    assert rules.exempt.whom(other) is None or name.startswith(("pg_dump", "pg_restore"))


def test_a_client_without_a_name_is_exempted_by_comment_only() -> None:
    pasted = _pasted(exemption_for(idle(61.0, application_name=""), RULES))
    assert pasted == Exempt()
