"""What one sweep carries out, notes, withholds or puts off."""

from dataclasses import replace
from typing import Any

import pytest

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.history import Action, RuleName
from poolguard.guard.plan import (
    MAX_CONNECTING,
    Carry,
    Deed,
    Limit,
    Note,
    Planned,
    Withhold,
    kills_left,
    plan,
    share_of_pool,
)
from poolguard.guard.rules import Rules, Verdict, compile_policy
from poolguard.settings.load import parse
from poolguard.settings.policies import Budget, Policy, PolicyMode
from tests.unit.guard.builders import LADDERS, NOW, active, idle, verdict

ENFORCE = compile_policy("app", LADDERS)
OBSERVE = compile_policy("app", replace(LADDERS, mode=PolicyMode.OBSERVE))


def budget(kills: int = 30, share: float = 0.5) -> Rules:
    return compile_policy("app", Policy(budget=Budget(kills_per_minute=kills, max_share_of_pool=share)))


def leaks(number: int, rules: Rules = ENFORCE, action: Action = Action.ROLLBACK) -> list[Verdict]:
    return [verdict(action, idle(60.0 + session, session), rules=rules) for session in range(1, number + 1)]


def planned(
    verdicts: list[Verdict],
    *,
    size: int = 20,
    under_way: dict[TransactionId, Deed] | None = None,
    done: list[Deed] | None = None,
) -> list[Planned]:
    return plan(verdicts, sizes={"app": size}, under_way=under_way or {}, done=done or [], now=NOW)


def deed(action: Action = Action.ROLLBACK, *, ago: float = 1.0, policy: str = "app", pool: str = "app") -> Deed:
    return Deed(NOW - ago, policy, pool, action)


def running(*deeds: Deed) -> dict[TransactionId, Deed]:
    return {TransactionId(SessionId(100 + number), 1): deed for number, deed in enumerate(deeds)}


def test_actions_come_before_warnings_and_the_oldest_first() -> None:
    young, old = verdict(facts=idle(61.0, 1)), verdict(facts=idle(99.0, 2))
    warning = verdict(Action.WARN, idle(500.0, 3))
    assert planned([warning, young, old]) == [Carry(old), Carry(young), Note(warning)]


def test_one_action_for_each_transaction_by_the_first_rule_which_names_the_others() -> None:
    facts = idle(61.0)
    first = verdict(Action.CANCEL, facts, rule=RuleName.STATEMENT_AGE)
    second = verdict(Action.TERMINATE, facts, rule=RuleName.CHECKOUT_AGE)
    assert planned([first, second]) == [Carry(replace(first, also=("checkout_age",)))]
    assert planned([second, first]) == [Carry(replace(second, also=("statement_age",)))]


def test_no_second_action_while_one_is_under_way() -> None:
    (leak,) = leaks(1)
    assert planned([leak], under_way={leak.transaction.id: deed()}) == []


def test_observe_only_notes_and_needs_no_budget() -> None:
    verdicts = leaks(50, rules=OBSERVE)
    assert all(isinstance(step, Note) for step in planned(verdicts, size=1))
    assert len(planned(verdicts, size=1)) == 50


def test_kills_of_the_last_minute_use_up_the_budget() -> None:
    (leak,) = leaks(1, rules=budget(kills=3))
    assert planned([leak], done=[deed(), deed(Action.CANCEL)]) == [Carry(leak)]
    assert planned([leak], done=[deed()] * 3) == [Withhold(leak, Limit.KILLS_PER_MINUTE)]
    assert planned([leak], done=[deed(ago=60.0)] * 3) == [Carry(leak)]
    assert planned([leak], done=[deed(policy="jobs")] * 3) == [Carry(leak)]


def test_a_budget_of_zero_ends_nothing() -> None:
    (leak,) = leaks(1, rules=budget(kills=0))
    assert planned([leak]) == [Withhold(leak, Limit.KILLS_PER_MINUTE)]


def test_one_sweep_never_plans_more_than_the_budget_and_puts_the_rest_off() -> None:
    assert len(planned(leaks(10, rules=budget(kills=4, share=1.0)))) == 4
    assert len(planned(leaks(10, rules=budget(kills=4, share=1.0)), under_way=running(deed(), deed()))) == 2


def test_a_pool_full_of_leaks_is_emptied_in_one_sweep_oldest_first() -> None:
    """A rollback gives its server back within milliseconds: the share of the pool is not for it."""
    steps = planned(leaks(10), size=10)
    assert [step.verdict.transaction.id.session for step in steps] == list(range(10, 0, -1))
    assert len(planned(leaks(5), size=10, done=[deed(Action.TERMINATE)] * 5)) == 5


def test_terminates_wait_for_their_share_of_the_pool() -> None:
    verdicts = leaks(10, action=Action.TERMINATE)
    assert [step.verdict.transaction.id.session for step in planned(verdicts, size=10)] == [10, 9, 8, 7, 6]
    assert planned(verdicts[:5], size=10, under_way=running(*[deed(Action.TERMINATE)] * 5)) == []
    assert len(planned(verdicts[:5], size=10, under_way=running(*[deed()] * 5))) == 5


def test_terminated_servers_count_against_the_share_for_a_minute() -> None:
    lost = [deed(Action.TERMINATE)] * 5
    (leak,) = leaks(1, action=Action.TERMINATE)
    assert planned([leak], size=10, done=lost) == [Withhold(leak, Limit.SHARE_OF_POOL)]
    assert planned([leak], size=20, done=lost) == [Carry(leak)]
    assert planned([leak], size=10, done=[deed(Action.TERMINATE, pool="jobs")] * 5) == [Carry(leak)]
    assert planned([leak], size=10, done=[deed(Action.TERMINATE, ago=60.0)] * 5) == [Carry(leak)]


def test_only_so_many_actions_connect_to_postgresql_at_once() -> None:
    verdicts = [verdict(Action.CANCEL, active(60.0, session)) for session in range(1, 21)]
    leak = verdict(facts=idle(61.0, 99))
    steps = planned([*verdicts, leak], size=100)
    assert len(steps) == MAX_CONNECTING + 1
    assert Carry(leak) in steps


@pytest.mark.parametrize(("size", "share", "servers"), [(10, 0.5, 5), (3, 0.5, 1), (1, 0.01, 1), (4, 1.0, 4)])
def test_share_of_a_pool_is_at_least_one_server(size: int, share: float, servers: int) -> None:
    assert share_of_pool(size, share) == servers


def test_kills_left_never_falls_below_zero() -> None:
    (leak,) = leaks(1, rules=budget(kills=2))
    assert [kills_left(leak, [deed()] * number, NOW) for number in range(4)] == [2, 1, 0, 0]


def one_rule(rule: str, budget_text: str = "{}") -> Rules:
    text = f"policies: {{app: {{rules: [{rule}], budget: {budget_text}}}}}"
    return compile_policy("app", parse(text, "f", {}).settings.policies["app"])


def leaked(number: int, rules: Rules, **changes: Any) -> Verdict:
    facts = idle(60.0 + number, number, **changes)
    return replace(verdict(facts=facts, rules=rules), of=rules.rules[0])


def rule(more: str) -> str:
    return f"{{name: leaked, when: {{idle_for: 1s}}, then: {{rollback: 0s}}{more}}}"


def test_victims_oldest_ends_one_at_a_time() -> None:
    rules = one_rule(rule(", victims: oldest"))
    found = [leaked(number, rules) for number in (1, 2, 3)]
    assert planned(found) == [Carry(found[2])]
    under_way = running(Deed(NOW, "app", "app", Action.ROLLBACK, "leaked"))
    assert planned(found, under_way=under_way) == []


def test_victims_most_blocking_ends_whom_most_wait_for() -> None:
    rules = one_rule(rule(", victims: most_blocking"))
    found = [leaked(1, rules, blocking=2, blocking_seconds=9.0), leaked(2, rules, blocking=3), leaked(3, rules)]
    assert planned(found) == [Carry(found[1])]


def test_after_an_action_its_rule_rests_for_wait_after() -> None:
    rules = one_rule(rule(", wait_after: 5s"))
    found = [leaked(number, rules) for number in (1, 2)]
    assert planned(found) == [Carry(found[1])]
    for ago, rule_name, steps in ((4.9, "leaked", 0), (5.0, "leaked", 1), (4.9, "other", 1)):
        done = [Deed(NOW - ago, "app", "app", Action.ROLLBACK, rule_name)]
        assert len(planned(found, done=done)) == steps


def test_a_cooldown_is_for_all_rules_of_a_policy_in_a_pool() -> None:
    rules = one_rule(rule(""), "{cooldown: 5s}")
    found = [leaked(number, rules) for number in (1, 2)]
    assert planned(found) == [Carry(found[1])]
    assert planned(found, done=[Deed(NOW - 4.9, "app", "app", Action.CANCEL, "other")]) == []
    assert len(planned(found, done=[Deed(NOW - 4.9, "app", "jobs", Action.CANCEL, "other")])) == 1


def test_a_rule_that_observes_is_noted_beside_the_one_that_acts() -> None:
    rules = one_rule(rule(", mode: observe"))
    facts = idle(61.0)
    watching = replace(verdict(facts=facts, rules=rules), of=rules.rules[0])
    acting = verdict(facts=facts)
    assert planned([watching, acting]) == [
        Carry(replace(acting, also=("leaked",))),
        Note(replace(watching, also=("idle_in_transaction",))),
    ]
