"""A policy as rules, compiled from its short and its long form; and what a rule comes to: a verdict. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from poolguard.guard.conditions import READS_POOL, READS_STATEMENTS, Condition, compile_when
from poolguard.guard.exemptions import Exemptions, compile_exempt
from poolguard.guard.history import Action, RuleName
from poolguard.ledger.facts import Transaction
from poolguard.settings import policies
from poolguard.settings.matching import RuleState, When
from poolguard.settings.policies import LADDERS, Budget, IdleBlocker, Ladder, Policy, PolicyMode, Victims
from poolguard.wire.classes import StatementClass

GLANCE_SECONDS: Final = 0.1
"""A rule that reads statements and does not act at once passes over what is younger: reading is what a judgement costs,
and most transactions end before. So its clock may begin a sweep late."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a ladder: taken when the rule's age reaches *at* (seconds)."""

    action: Action
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One ladder, mildest step first; steps' ages never fall."""

    name: str
    setting: str
    """Where it stands in the settings; its steps follow behind a dot."""
    steps: tuple[Step, ...]
    mode: PolicyMode
    measure: RuleName | None = None
    """The age that a ladder of the short form looks at; None: for how long `when` has held."""
    when: tuple[Condition, ...] = ()
    victims: Victims = Victims.ALL
    wait_after: float = 0.0
    exempt: Exemptions | None = None
    """For this rule, besides the policy's."""
    claims: frozenset[StatementClass] = frozenset()
    """Classes of work that it names itself, and so may end."""
    soonest: float = 0.0
    """No checkout younger than this can be a match (seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy, ready to judge with."""

    policy: str
    mode: PolicyMode
    rules: tuple[Rule, ...]
    """In the order in which they are asked: the long form's as they were written, then the ladders."""
    soonest: float
    """Nothing of any rule is due before this age (seconds); infinity without rules."""
    asks_pool: bool
    """Whether some rule looks at the pool's state."""
    exempt: Exemptions
    budget: Budget

    @property
    def modes(self) -> tuple[tuple[str, PolicyMode], ...]:
        """Which rule is carried out and which only observes."""
        return tuple((rule.name, rule.mode) for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One step that is due, with what the log, the metric and the operator will ask."""

    transaction: Transaction
    rules: Rules
    of: Rule
    action: Action
    limit_seconds: float
    """The step's age in the settings."""
    actual_seconds: float
    """What the rule measured."""
    matched: tuple[tuple[str, str, str], ...] = ()
    """Key, what it wanted and what was found, of each key of a rule of the long form."""
    also: tuple[str, ...] = ()
    """Other rules by which something was due at the same time."""

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return self.of.name

    @property
    def policy(self) -> str:
        """Name of the policy."""
        return self.rules.policy

    @property
    def mode(self) -> PolicyMode:
        """Whether it is carried out."""
        return self.of.mode

    @property
    def is_note(self) -> bool:
        """Whether nothing is done to the transaction: a warning, or anything under `observe`."""
        return self.action is Action.WARN or self.mode is PolicyMode.OBSERVE


def compile_policy(name: str, policy: Policy, *, observe: bool = False) -> Rules:
    """Compile the policy that the settings call *name*. With *observe* every rule only observes."""
    mode = PolicyMode.OBSERVE if observe else policy.mode
    long_form = [
        _long_rule(rule, f"policies.{name}.rules[{index}]", mode, observe=observe)
        for index, rule in enumerate(policy.rules)
    ]
    ladders = {ladder: found for ladder in LADDERS if (found := getattr(policy, ladder)) is not None}
    short_form = [_short_rule(ladder, found, f"policies.{name}.{ladder}", mode) for ladder, found in ladders.items()]
    rules = (*long_form, *short_form)
    return Rules(
        policy=name,
        mode=mode,
        rules=rules,
        soonest=min((rule.soonest for rule in rules), default=float("inf")),
        asks_pool=any(condition.key in READS_POOL for rule in rules for condition in rule.when),
        exempt=compile_exempt(policy.exempt),
        budget=policy.budget,
    )


def _short_rule(name: str, ladder: Ladder, setting: str, mode: PolicyMode) -> Rule:
    steps = _steps(ladder)
    if isinstance(ladder, IdleBlocker):
        states = (RuleState.IDLE_IN_TRANSACTION, RuleState.FAILED_TRANSACTION)
        when = compile_when(When(state=states, blocking=f">={ladder.blocking}"))
        return Rule(name=name, setting=setting, steps=steps, mode=mode, when=when, soonest=_soonest(when, steps))
    measure = RuleName(name)
    soonest = min(step.at for step in steps)
    return Rule(name=measure, setting=setting, steps=steps, mode=mode, measure=measure, soonest=soonest)


def _long_rule(rule: policies.Rule, setting: str, mode: PolicyMode, *, observe: bool) -> Rule:
    when = compile_when(rule.when)
    return Rule(
        name=rule.name,
        setting=f"{setting}.then",
        steps=_steps(rule.then),
        mode=PolicyMode.OBSERVE if observe else rule.mode or mode,
        when=when,
        victims=rule.victims,
        wait_after=rule.wait_after,
        exempt=compile_exempt(rule.exempt) if rule.exempt is not None else None,
        claims=frozenset(rule.when.statement_class),
        soonest=_soonest(when, _steps(rule.then)),
    )


def _soonest(when: Sequence[Condition], steps: Sequence[Step]) -> float:
    """The age (seconds) of the youngest checkout that the rule must see."""
    floor, first = max(condition.floor for condition in when), min(step.at for step in steps)
    if not any(condition.watched for condition in when):
        return max(floor, first)  # nothing has held for longer than the server has been held
    # What counts from the first look must be looked at in time.
    reads = any(condition.key.partition(".")[0] in READS_STATEMENTS for condition in when)
    return max(floor, min(first, GLANCE_SECONDS)) if reads else floor


def _steps(ladder: Ladder) -> tuple[Step, ...]:
    ages = {action: getattr(ladder, action.value) for action in Action}
    return tuple(Step(action, at) for action, at in ages.items() if at is not None)
