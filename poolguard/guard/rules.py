"""Compile a policy to rules, and judge one transaction by them. Pure: same facts, same verdicts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Final, assert_never

from poolguard.guard.history import Action, History, RuleName
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.settings.policies import Budget, Ladder, Policy, PolicyMode
from poolguard.wire.fingerprint import has_marker
from poolguard.wire.text import Kind, classify

IDLE: Final = frozenset({Phase.IDLE_IN_TRANSACTION, Phase.FAILED_TRANSACTION})
HOLDING: Final = frozenset({*IDLE, Phase.ACTIVE, Phase.PINNED})

COUNTS_IN: Final[Mapping[RuleName, frozenset[Phase]]] = {
    RuleName.IDLE_IN_TRANSACTION: IDLE,
    # A pinned session that stands between transactions has none that could be old.
    RuleName.TRANSACTION_AGE: IDLE | {Phase.ACTIVE},
    RuleName.STATEMENT_AGE: frozenset({Phase.ACTIVE}),
    # Half-open pipelines, stalled COPY, pins: whatever the other rules don't see.
    RuleName.CHECKOUT_AGE: HOLDING,
}
"""In which phases a rule's clock counts."""

POSSIBLE_IN: Final[Mapping[Action, frozenset[Phase]]] = {
    Action.WARN: HOLDING,
    # PostgreSQL docs, 55.2.8: a cancel does nothing to a backend that runs nothing.
    Action.CANCEL: frozenset({Phase.ACTIVE}),
    # Only at ReadyForQuery T or E with nothing in flight can poolguard say ROLLBACK in the client's place.
    Action.ROLLBACK: IDLE,
    Action.TERMINATE: HOLDING,
}
"""In which phases an action can be done."""

COMMITS: Final = frozenset({Kind.COMMIT, Kind.PREPARE_TRANSACTION})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a ladder: taken when the rule's age reaches *at* (seconds)."""

    action: Action
    at: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One ladder, mildest step first; steps' ages never fall."""

    name: RuleName
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy, ready to judge with."""

    policy: str
    mode: PolicyMode
    rules: tuple[Rule, ...]
    soonest: float
    """No step of any rule is due before this age (seconds); infinity without rules."""
    exempt_applications: tuple[str, ...]
    exempt_pattern: re.Pattern[str] | None
    exempt_marker: str
    """Empty for none."""
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One step that is due, with what the log, the metric and the operator will ask."""

    transaction: Transaction
    rules: Rules
    rule: RuleName
    action: Action
    limit_seconds: float
    """The step's age in the settings."""
    actual_seconds: float
    """What the rule measured."""

    @property
    def policy(self) -> str:
        """Name of the policy."""
        return self.rules.policy

    @property
    def is_note(self) -> bool:
        """Whether nothing is done to the transaction: a warning, or anything under `observe`."""
        return self.action is Action.WARN or self.rules.mode is PolicyMode.OBSERVE


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is due for one transaction, and its history brought up to this transaction of the checkout."""

    verdicts: tuple[Verdict, ...]
    history: History
    spared: bool = False
    """Something was due for the first time, and the transaction is exempt."""


def compile_policy(name: str, policy: Policy) -> Rules:
    """Compile the policy that the settings call *name*."""
    ladders = {rule: getattr(policy, rule.value) for rule in RuleName}
    rules = tuple(Rule(rule, _steps(ladder)) for rule, ladder in ladders.items() if ladder is not None)
    globs = policy.exempt.application_name
    return Rules(
        policy=name,
        mode=policy.mode,
        rules=rules,
        soonest=min((step.at for rule in rules for step in rule.steps), default=float("inf")),
        exempt_applications=globs,
        exempt_pattern=re.compile("|".join(translate(glob) for glob in globs)) if globs else None,
        exempt_marker=policy.exempt.comment or "",
        budget=policy.budget,
    )


def _steps(ladder: Ladder) -> tuple[Step, ...]:
    ages = {action: getattr(ladder, action.value) for action in Action}
    return tuple(Step(action, at) for action, at in ages.items() if at is not None)


def judge(transaction: Transaction, rules: Rules, history: History, now: float) -> Judgement:
    """Say which steps are due for *transaction*: of each rule at most one, the harshest.

    *now* must be the moment at which the facts were read. An exempt transaction gets no verdict, whatever matches.
    """
    if max(transaction.checkout_seconds, transaction.transaction_seconds) < rules.soonest:
        return Judgement((), history)
    history = history.continued(transaction, now)
    # A pinned server stays with its session after a rollback: its checkout can still grow too old.
    if history.exempt or (history.ended and transaction.phase is not Phase.PINNED):
        return Judgement((), history)
    due = tuple(
        verdict for rule in rules.rules if (verdict := _due(transaction, rules, rule, history, now)) is not None
    )
    # Last, because it reads statements: nearly no transaction gets here.
    if due and is_exempt(transaction, rules):
        return Judgement((), replace(history, exempt=True), spared=True)
    return Judgement(due, history)


def is_exempt(transaction: Transaction, rules: Rules) -> bool:
    """Tell whether the policy leaves *transaction* alone: by application_name, or by a marker in a comment."""
    pattern, marker = rules.exempt_pattern, rules.exempt_marker
    if pattern is not None and pattern.match(transaction.application_name):
        return True
    return bool(marker) and any(has_marker(sql, marker) for sql in (transaction.statement, *transaction.recent))


def _due(transaction: Transaction, rules: Rules, rule: Rule, history: History, now: float) -> Verdict | None:
    if transaction.phase not in COUNTS_IN[rule.name]:
        return None
    actual = measure(rule.name, transaction)
    for step in reversed(rule.steps):
        if actual < step.at or not is_possible(step.action, transaction):
            continue
        if not history.allows(rule.name, step.action, transaction, now):
            return None
        return Verdict(
            transaction=transaction,
            rules=rules,
            rule=rule.name,
            action=step.action,
            limit_seconds=step.at,
            actual_seconds=actual,
        )
    return None


def is_possible(action: Action, transaction: Transaction) -> bool:
    """Tell whether *action* makes sense in this phase.

    A COMMIT under way is never cut: nobody could say any more whether the work was kept.
    """
    if transaction.phase not in POSSIBLE_IN[action]:
        return False
    is_cutting = transaction.phase is Phase.ACTIVE and action is not Action.WARN
    return not (is_cutting and classify(transaction.statement).kind in COMMITS)


def measure(rule: RuleName, transaction: Transaction) -> float:
    """The age (seconds) that *rule* looks at."""
    match rule:
        case RuleName.IDLE_IN_TRANSACTION:
            return transaction.phase_seconds
        case RuleName.TRANSACTION_AGE:
            return transaction.transaction_seconds
        case RuleName.STATEMENT_AGE:
            return transaction.statement_seconds
        case RuleName.CHECKOUT_AGE:
            return transaction.checkout_seconds
        case _:
            assert_never(rule)
