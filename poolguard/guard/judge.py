"""Judge one transaction by the rules of its pool's policy. Pure: same facts, same verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from poolguard.guard.case import Case
from poolguard.guard.conditions import IDLE, READS_STATEMENTS, Condition
from poolguard.guard.exemptions import Spared
from poolguard.guard.history import Action, History, RuleName
from poolguard.guard.incidents import PoolState
from poolguard.guard.rules import Rule, Rules, Step, Verdict
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.settings.policies import PolicyMode
from poolguard.wire.text import Kind, classify

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
class Judgement:
    """What is due for one transaction, and its history brought up to this transaction of the checkout."""

    verdicts: tuple[Verdict, ...]
    history: History
    spared: Spared | None = None
    """Something was due for the first time, and the transaction is exempt."""
    protected: tuple[tuple[Verdict, Spared], ...] = ()
    """What was due and is not done, because such work is not ended."""
    remember: bool = False
    """The history holds something that must be there in the next sweep."""


def judge(
    transaction: Transaction, rules: Rules, history: History, now: float, pool: PoolState | None = None
) -> Judgement:
    """Say which steps are due for *transaction*: of each rule at most one, the harshest.

    *now* must be the moment at which the facts were read. An exempt transaction gets no verdict, whatever matches;
    protected work none that ends it.
    """
    if is_young(transaction, rules):
        return Judgement((), history)
    return judge_case(Case(transaction, pool), rules, history, now)


def is_young(transaction: Transaction, rules: Rules) -> bool:
    """Tell whether it is too young for any rule: nearly every transaction is, so that the rest may cost more."""
    return max(transaction.checkout_seconds, transaction.transaction_seconds) < rules.soonest


def judge_case(case: Case, rules: Rules, history: History, now: float) -> Judgement:
    """`judge`, with what is known of the pool and perhaps of the statements."""
    transaction = case.transaction
    history = history.continued(transaction, now)
    # A pinned server stays with its session after a rollback: its checkout can still grow too old.
    if history.exempt or (history.ended and transaction.phase is not Phase.PINNED):
        return Judgement((), history)
    watched: dict[str, float] = {}
    due = []
    for rule in rules.rules:
        if history.would_end and rule.mode is PolicyMode.OBSERVE and transaction.phase is not Phase.PINNED:
            continue
        seconds = elapsed(rule, case, history.matched, watched, now)
        if seconds is not None and (verdict := _due(case, rules, rule, seconds, history, now)) is not None:
            due.append(verdict)
    remember = watched != history.matched
    if remember:
        history = replace(history, matched=watched)
    # Last, because it reads statements: nearly no transaction gets here.
    if not due:
        return Judgement((), history, remember=remember)
    spared = rules.exempt.whom(case)
    if spared is not None:
        return Judgement((), replace(history, exempt=True), spared=spared, remember=True)
    return _without_protected(case, due, history, remember=remember)


def _without_protected(case: Case, due: Iterable[Verdict], history: History, *, remember: bool) -> Judgement:
    verdicts: list[Verdict] = []
    protected: list[tuple[Verdict, Spared]] = []
    for verdict in due:
        if verdict.of.exempt is not None and verdict.of.exempt.whom(case) is not None:
            continue
        reason = protection(case, verdict.rules, verdict.of) if verdict.action is not Action.WARN else None
        if reason is None:
            verdicts.append(verdict)
        else:
            protected.append((verdict, reason))
    return Judgement(tuple(verdicts), history, protected=tuple(protected), remember=remember)


def protection(case: Case, rules: Rules, rule: Rule) -> Spared | None:
    """Why *rule* may not end what the transaction does; None: it may."""
    own = rule.exempt.what(case, rule.measure, rule.claims) if rule.exempt is not None else None
    return own or rules.exempt.what(case, rule.measure, rule.claims)


def elapsed(
    rule: Rule, case: Case, matched: Mapping[str, float], watched: dict[str, float], now: float
) -> float | None:
    """The age (seconds) that *rule*'s steps are compared with; None when it does not match.

    A rule of the long form measures for how long all its keys have held. Where a key can't tell, it counts at
    least from the first sweep that saw the rule match: that is in *matched*, and what to remember goes into *watched*.
    """
    transaction = case.transaction
    if rule.measure is not None:
        return measure(rule.measure, transaction) if transaction.phase in COUNTS_IN[rule.measure] else None
    if _is_too_young(transaction, rule):
        return None
    if not all(condition.holds(case) for condition in rule.when):
        return None
    seen_for = 0.0
    if any(condition.watched for condition in rule.when):
        since = watched[rule.name] = matched.get(rule.name, now)
        seen_for = now - since
    ages = [max(condition.held_for(case), seen_for if condition.watched else 0.0) for condition in rule.when]
    return max(0.0, min(ages))


def reads_statements(case: Case, rules: Rules, history: History, now: float) -> bool:
    """Tell whether judging may ask what the statements say: then they are read ahead, a turn of the loop for each."""
    transaction = case.transaction
    history = history.continued(transaction, now)
    if history.exempt or history.ended or is_young(transaction, rules):
        return False
    for rule in rules.rules:
        if rule.measure is not None:
            seconds = elapsed(rule, case, {}, {}, now)
            if seconds is not None and _step_due(rule, seconds, transaction, history, now) is not None:
                return True
        elif not _is_too_young(transaction, rule) and _cheap_keys_hold(rule.when, case):
            return True
    return False


def _is_too_young(transaction: Transaction, rule: Rule) -> bool:
    return max(transaction.checkout_seconds, transaction.transaction_seconds) < rule.soonest


def _cheap_keys_hold(when: Sequence[Condition], case: Case) -> bool:
    return all(condition.key.partition(".")[0] in READS_STATEMENTS or condition.holds(case) for condition in when)


def _due(case: Case, rules: Rules, rule: Rule, seconds: float, history: History, now: float) -> Verdict | None:
    step = _step_due(rule, seconds, case.transaction, history, now)
    if step is None:
        return None
    return Verdict(
        transaction=case.transaction,
        rules=rules,
        of=rule,
        action=step.action,
        limit_seconds=step.at,
        actual_seconds=seconds,
        matched=tuple((condition.key, condition.wanted, condition.found(case)) for condition in rule.when),
    )


def _step_due(rule: Rule, seconds: float, transaction: Transaction, history: History, now: float) -> Step | None:
    """The harshest step that is reached and possible, if it was not taken yet."""
    for step in reversed(rule.steps):
        if seconds >= step.at and is_possible(step.action, transaction):
            return step if history.allows(rule.name, step.action, transaction, now) else None
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
