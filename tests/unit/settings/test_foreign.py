"""Rules about lock holders that are not ours: none by default, and each names whom it is about."""

import pytest

from poolguard.core.errors import SettingsError
from poolguard.settings.load import load, parse
from poolguard.settings.model import Settings
from poolguard.settings.policies import Ladder, PolicyMode

URL = {"DATABASE_URL": "postgresql://app@db/shop"}


def rule(text: str) -> str:
    return "foreign_blockers:\n  rules:\n    - " + text.replace("\n", "\n      ")


def test_nothing_is_ended_unless_somebody_writes_a_rule() -> None:
    assert Settings().foreign_blockers.rules == ()
    assert load(None, URL).settings.foreign_blockers.as_policy().rules == ()


def test_a_rule_becomes_one_of_a_policy_that_always_asks_whether_somebody_waits() -> None:
    text = rule("name: psql\nwhen: {application_name: psql, idle_for: 5s}\nthen: {warn: 0s, terminate: 20s}\n")
    policy = parse(text, "f", URL).settings.foreign_blockers.as_policy()
    (made,) = policy.rules
    assert made.when.keys() == ["application_name", "idle_for", "blocking"]
    assert made.when.blocking == ">=1"
    assert made.then == Ladder(warn=0.0, terminate=20.0)
    assert (policy.mode, policy.budget.kills_per_minute, policy.budget.cooldown) == (PolicyMode.ENFORCE, 5, 10.0)
    assert "pg_dump*" in policy.exempt.application_name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: all\nwhen: {blocking_for: 5s}\nthen: {terminate: 1s}\n", "names nobody"),
        ("name: none\nwhen: {user: x}\nthen: {}\n", "no step given"),
        ("name: back\nwhen: {user: x}\nthen: {cancel: 9s, terminate: 1s}\n", "cancel comes after terminate"),
        ("name: roll\nwhen: {user: x}\nthen: {rollback: 9s}\n", "rollback"),
        ("name: idle\nwhen: {user: x, state: idle_in_transaction}\nthen: {cancel: 1s}\n", "ends a running statement"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse(rule(text), "f", URL)


def test_two_rules_of_one_name_are_refused() -> None:
    one = "    - {name: twice, when: {user: x}, then: {warn: 1s}}\n"
    with pytest.raises(SettingsError, match="the name of two rules"):
        parse(f"foreign_blockers:\n  rules:\n{one}{one}", "f", URL)


def test_rules_without_an_observer_are_warned_of() -> None:
    text = rule("name: psql\nwhen: {user: x}\nthen: {warn: 1s}\n") + "\nobserver: {enabled: false}\n"
    (warning,) = parse(text, "f", URL).warnings
    assert "nobody looks at locks" in warning
