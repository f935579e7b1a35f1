"""Comparisons of rules, and what a rule may not say."""

import pytest

from poolguard.settings.load import parse
from poolguard.settings.matching import Comparison, When, age, number
from poolguard.settings.policies import Policy
from poolguard.settings.problems import SettingsProblems


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [(">=10s", 10.0, 9.9), ("10s", 10.0, 9.9), (">1m", 60.1, 60.0), ("<5s", 4.9, 5.0), ("<= 1h30m", 5400.0, 5401.0)],
)
def test_ages_are_compared_in_seconds_and_without_a_sign_mean_at_least(text: str, holds: float, fails: float) -> None:
    assert age(text).holds(holds)
    assert not age(text).holds(fails)


def test_numbers_have_no_unit() -> None:
    assert number(">=0.9") == Comparison(">=", 0.9)
    assert number("2") == Comparison(">=", 2.0)


@pytest.mark.parametrize("text", ["", ">=", "10", "=10s", "==10s", ">=-1s", "1s 2s"])
def test_what_is_no_comparison_of_ages_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        age(text)


def test_keys_are_those_that_are_given() -> None:
    assert When(wrote=False, waiters=">=1").keys() == ["waiters", "wrote"]


def of(rule: str) -> Policy:
    return parse(f"policies: {{app: {{rules: [{rule}]}}}}", "f", {}).settings.policies["app"]


def test_a_single_text_stands_for_a_list_of_one() -> None:
    (rule,) = of("{name: a, when: {user: bob, state: active, waiters: 1}, then: {warn: 0s}}").rules
    assert (rule.when.user, rule.when.state, rule.when.waiters) == (("bob",), ("active",), "1")


THEN = "then: {warn: 0s}"


@pytest.mark.parametrize(
    ("rule", "at", "words"),
    [
        (f"{{name: a, when: {{}}, {THEN}}}", ".rules[0].when", "would match everything"),
        (f"{{name: a, when: {{idl_for: 1s}}, {THEN}}}", ".when.idl_for", "unknown key"),
        (f"{{name: a, when: {{idle_for: soon}}, {THEN}}}", ".when.idle_for", "not a duration"),
        (f"{{name: a, when: {{waiters: some}}, {THEN}}}", ".when.waiters", "no number"),
        (f"{{name: a, when: {{pool_utilisation: 90}}, {THEN}}}", ".when.pool_utilisation", "it is a share"),
        (f"{{name: a, when: {{state: idle}}, {THEN}}}", ".when.state[0]", "is not known"),
        (f"{{name: a, when: {{client_address: here}}, {THEN}}}", ".when.client_address", "here"),
        (f"{{name: a, when: {{fingerprint: xyz}}, {THEN}}}", ".when.fingerprint", "16 hexadecimal"),
        (f'{{name: a, when: {{statement: "("}}, {THEN}}}', ".when.statement", "is no regular expression"),
        (f"{{name: a b, when: {{wrote: true}}, {THEN}}}", ".rules[0].name", "can't be a name"),
        ("{name: a, when: {wrote: true}, then: {}}", ".rules[0].then", "no step given"),
        ("{name: a, when: {state: active}, then: {rollback: 1s}}", ".rules[0]", "stands idle"),
        ("{name: a, when: {state: pinned}, then: {cancel: 1s}}", ".rules[0]", "none runs"),
        (f"{{name: a, when: {{wrote: true}}, wait_after: 61s, {THEN}}}", ".wait_after", "at most 1m"),
        (f"{{name: idle_in_transaction, when: {{wrote: true}}, {THEN}}}", "policies.app", "name of a ladder"),
        (f"{{name: a, when: {{wrote: true}}, {THEN}}}, {{name: a, when: {{wrote: true}}, {THEN}}}", "app", "two rules"),
    ],
)
def test_a_rule_that_says_too_little_or_too_much_is_an_error_with_its_place(rule: str, at: str, words: str) -> None:
    with pytest.raises(SettingsProblems) as refused:
        of(rule)
    (problem,) = refused.value.message.splitlines()
    assert problem.startswith("f:1:")
    assert f"{at}: " in problem
    assert words in problem
