"""Whatever transactions do, the guard escalates in order, does nothing twice, spares the exempt, and only watches."""

import asyncio
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from poolguard.guard.case import Case
from poolguard.guard.history import ENDS, Action, History, RuleName
from poolguard.guard.judge import COUNTS_IN, POSSIBLE_IN, judge, measure
from poolguard.guard.rules import Verdict, compile_policy
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from poolguard.settings.load import parse
from poolguard.settings.policies import Budget, Ladder, Policy, PolicyMode
from poolguard.settings.problems import SettingsProblems
from tests.unit.guard.builders import NOW, Scene, transaction

AGES = st.floats(0.1, 100).map(lambda age: round(age, 1))


def ladders(*actions: Action) -> st.SearchStrategy[Ladder | None]:
    """Some of *actions*, at ages that don't fall."""

    def build(chosen: list[Action], ages: list[float]) -> Ladder:
        ordered = sorted(chosen, key=lambda action: action.rank)
        return Ladder(**{a.value: at for a, at in zip(ordered, sorted(ages), strict=False)})

    some = st.lists(st.sampled_from(actions), min_size=1, max_size=4, unique=True)
    return st.none() | st.builds(build, some, st.lists(AGES, min_size=4, max_size=4))


WARN, CANCEL, ROLLBACK, TERMINATE = Action
POLICIES = st.builds(
    Policy,
    idle_in_transaction=ladders(WARN, ROLLBACK, TERMINATE),
    transaction_age=ladders(*Action),
    statement_age=ladders(WARN, CANCEL, TERMINATE),
    checkout_age=ladders(*Action),
    budget=st.just(Budget(kills_per_minute=1000, max_share_of_pool=1.0)),
)


@dataclass
class Client:
    """One session with a server, and what it does next: a phase for some seconds."""

    now: float = NOW
    began: float = NOW
    statement_began: float = NOW
    phase: Phase = Phase.ACTIVE
    phase_began: float = NOW

    def goes_to(self, phase: Phase, begins_anew: bool) -> None:
        if phase is Phase.ACTIVE:
            self.statement_began = self.now
            if begins_anew:
                self.began = self.now
        if phase is not self.phase or phase is Phase.ACTIVE:
            self.phase, self.phase_began = phase, self.now

    def facts(self) -> Transaction:
        return transaction(
            phase=self.phase,
            phase_seconds=self.now - self.phase_began,
            transaction_seconds=self.now - self.began,
            statement_seconds=self.now - self.statement_began if self.phase is Phase.ACTIVE else 0.0,
            checkout_seconds=self.now - NOW,
        )


PHASES = st.sampled_from(sorted(COUNTS_IN[RuleName.CHECKOUT_AGE]))
LIVES = st.lists(st.tuples(PHASES, st.floats(0.1, 60), st.booleans()), max_size=12)


def judged(policy: Policy, life: list[tuple[Phase, float, bool]]) -> list[tuple[Verdict, float, float, float]]:
    """Live that life, carrying out whatever is due: verdict, when its transaction and statement began, now."""
    rules, client, history = compile_policy("p", policy), Client(), History()
    story = []
    for phase, seconds, begins_anew in life:
        client.goes_to(phase, begins_anew)
        for _ in range(3):
            client.now += seconds / 3
            facts = client.facts()
            judgement = judge(facts, rules, history, client.now)
            history = judgement.history
            for verdict in judgement.verdicts:
                story.append((verdict, client.began, client.statement_began, client.now))
                history = history.after(
                    verdict.rule, verdict.action, Outcome.DONE, facts, seen=client.now, now=client.now
                )
    return story


@given(POLICIES, LIVES)
def test_no_step_before_its_age_and_none_that_makes_no_sense(
    policy: Policy, life: list[tuple[Phase, float, bool]]
) -> None:
    for verdict, *_ in judged(policy, life):
        rule = verdict.of.measure
        assert rule is not None
        step = getattr(getattr(policy, rule.value), verdict.action.value)
        assert verdict.actual_seconds >= step == verdict.limit_seconds
        assert verdict.actual_seconds == measure(rule, verdict.transaction)
        assert verdict.transaction.phase in COUNTS_IN[rule] & POSSIBLE_IN[verdict.action]


@given(POLICIES, LIVES)
def test_nothing_is_due_twice_and_never_a_milder_step_after_a_harsher_one(
    policy: Policy, life: list[tuple[Phase, float, bool]]
) -> None:
    story = judged(policy, life)
    for rule in RuleName:
        of_checkout = rule is RuleName.CHECKOUT_AGE
        for began in {0.0} if of_checkout else {began for _, began, *_ in story}:
            steps = [
                (verdict.action, statement)
                for verdict, of, statement, _ in story
                if verdict.rule is rule and (of_checkout or of == began)
            ]
            assert [action.rank for action, _ in steps] == sorted(action.rank for action, _ in steps)
            # A cancel comes once for each statement, everything else once.
            assert len({(action, since if action is CANCEL else 0.0) for action, since in steps}) == len(steps)


@given(POLICIES, LIVES)
def test_nothing_is_due_after_the_end_but_for_a_pinned_checkout(
    policy: Policy, life: list[tuple[Phase, float, bool]]
) -> None:
    ended: dict[float, float] = {}
    for verdict, began, _, now in judged(policy, life):
        if ended.get(began, now) < now:
            assert (verdict.rule, verdict.transaction.phase) == (RuleName.CHECKOUT_AGE, Phase.PINNED)
        if verdict.action in ENDS:
            ended.setdefault(began, now)


def swept(policy: Policy, life: list[tuple[Phase, float, bool]], *, application_name: str = "shop") -> Scene:
    """Let a guard sweep over that life; its hands do nothing but write down."""

    async def live() -> Scene:
        scene, client = Scene(policy), Client()
        for phase, seconds, begins_anew in life:
            client.goes_to(phase, begins_anew)
            client.now += seconds
            await scene.clock.advance(seconds)
            await scene.sweep(replace(client.facts(), application_name=application_name))
        await scene.guard.stop()
        return scene

    return asyncio.run(live())


@given(POLICIES, LIVES)
def test_the_exempt_are_never_acted_on(policy: Policy, life: list[tuple[Phase, float, bool]]) -> None:
    scene = swept(policy, life, application_name="pg_dump")
    assert (scene.hands.calls, scene.story()) == ([], [])


@given(POLICIES, LIVES)
def test_observe_never_touches_the_hands_and_notes_what_enforce_would_do(
    policy: Policy, life: list[tuple[Phase, float, bool]]
) -> None:
    observed = swept(replace(policy, mode=PolicyMode.OBSERVE), life)
    enforced = swept(policy, life)
    assert observed.hands.calls == []
    assert {outcome for _, outcome in observed.story()} <= {"observed"}
    assert sorted(action for action, _ in observed.story()) == sorted(action for action, _ in enforced.story())


RULE_TEXTS = st.lists(
    st.sampled_from(
        [
            "state: idle_in_transaction",
            "state: [active, idle_in_transaction]",
            "idle_for: 5s",
            "transaction_age: '>=20s'",
            "checkout_age: '<40s'",
            "statements: '>=2'",
            "wrote: false",
            "savepoint: false",
            "user: 'b*'",
        ]
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda key: key.partition(":")[0],
)


def long_form(keys: list[str], warn: float, rollback: float) -> Policy:
    text = f"{{name: r, when: {{{', '.join(keys)}}}, then: {{warn: {warn}s, rollback: {warn + rollback}s}}}}"
    return parse(f"policies: {{p: {{rules: [{text}]}}}}", "f", {}).settings.policies["p"]


@given(RULE_TEXTS, AGES, AGES, LIVES)
def test_a_rule_of_the_long_form_matches_only_while_every_key_holds_and_is_old_enough_by_its_own_count(
    keys: list[str], warn: float, rollback: float, life: list[tuple[Phase, float, bool]]
) -> None:
    try:
        policy = long_form(keys, warn, rollback)
    except SettingsProblems:
        return  # a state in which no rollback is possible
    conditions = compile_policy("p", policy).rules[0].when
    for verdict, *_ in judged(policy, life):
        case = Case(verdict.transaction)
        assert all(condition.holds(case) for condition in conditions)
        assert verdict.actual_seconds >= verdict.limit_seconds
        assert verdict.actual_seconds <= verdict.transaction.checkout_seconds + 0.001
        assert verdict.transaction.phase in POSSIBLE_IN[verdict.action]
        assert [key for key, *_ in verdict.matched] == [condition.key for condition in conditions]
