"""Why a transaction is, or is not, acted on: every rule with every key, whether it held and what was found. Pure.

For people who ask before or after the fact; what is said follows from the same functions as the verdicts.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from poolguard.guard.case import Case
from poolguard.guard.conditions import Condition
from poolguard.guard.history import Action, History
from poolguard.guard.incidents import TEXT_KEY, TEXT_OMITTED
from poolguard.guard.judge import COUNTS_IN, elapsed, is_possible, judge_case, protection
from poolguard.guard.rules import Rule, Rules, Step


class StepState(StrEnum):
    """Where one step of a rule stands."""

    AHEAD = "ahead"
    """Not yet: in so many seconds, if the rule goes on matching."""
    DUE = "due"
    TAKEN = "taken"
    NOT_POSSIBLE = "not_possible"
    """Makes no sense in this state: nothing runs that could be cancelled, or something runs."""
    SPARED = "spared"
    """Such work is not ended."""
    NO_MATCH = "no_match"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExplained:
    """One key of a rule."""

    key: str
    wanted: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExplained:
    """One step of a rule."""

    action: Action
    at_seconds: float
    state: StepState
    in_seconds: float = 0.0
    """AHEAD: how long it still takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleExplained:
    """One rule."""

    rule: str
    setting: str
    mode: str
    matches: bool
    matched_seconds: float
    """What its steps' ages are compared with; 0 without a match."""
    spared_by: str | None
    keys: tuple[KeyExplained, ...]
    steps: tuple[StepExplained, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One transaction under its pool's policy."""

    transaction: str
    pool: str
    policy: str
    state: str
    exempt: str | None
    ended: bool
    verdict: str | None
    """`rollback by leaked`: what a sweep would do now."""
    rules: tuple[RuleExplained, ...]

    def without_text(self) -> "Explanation":
        """The same, where texts are not to be shown."""
        return replace(self, rules=tuple(replace(rule, keys=_without_text(rule.keys)) for rule in self.rules))

    def as_json(self) -> dict[str, object]:
        """Plain values for json.dumps."""
        return {
            "transaction": self.transaction,
            "pool": self.pool,
            "policy": self.policy,
            "state": self.state,
            "exempt": self.exempt,
            "ended": self.ended,
            "verdict": self.verdict,
            "rules": [_rule_json(rule) for rule in self.rules],
        }


def _without_text(keys: tuple[KeyExplained, ...]) -> tuple[KeyExplained, ...]:
    return tuple(replace(key, found=TEXT_OMITTED) if key.key == TEXT_KEY else key for key in keys)


def explain(case: Case, rules: Rules, history: History, now: float) -> Explanation:
    """Explain what the policy says of one transaction whose facts were read at *now* (monotonic)."""
    transaction = case.transaction
    history = history.continued(transaction, now)
    exempt = rules.exempt.whom(case)
    judgement = judge_case(case, rules, history, now)
    enforced = [verdict for verdict in judgement.verdicts if not verdict.is_note] or list(judgement.verdicts)
    first = enforced[0] if enforced else None
    return Explanation(
        transaction=str(transaction.id),
        pool=transaction.pool,
        policy=rules.policy,
        state=transaction.phase.name.lower(),
        exempt=exempt.value if exempt is not None else None,
        ended=history.ended,
        verdict=f"{first.action.value} by {first.rule}" if first is not None else None,
        rules=tuple(_explain_rule(rule, case, rules, history, now) for rule in rules.rules),
    )


def _explain_rule(rule: Rule, case: Case, rules: Rules, history: History, now: float) -> RuleExplained:
    seconds = elapsed(rule, case, history.matched, {}, now)
    spared = protection(case, rules, rule)
    if spared is None and rule.exempt is not None:
        spared = rule.exempt.whom(case)
    steps = (_explain_step(step, rule, seconds, case, history, spared=spared is not None) for step in rule.steps)
    return RuleExplained(
        rule=rule.name,
        setting=rule.setting,
        mode=rule.mode.value,
        matches=seconds is not None,
        matched_seconds=seconds or 0.0,
        spared_by=spared.value if spared is not None else None,
        keys=_ladder_key(rule, case) or tuple(_explain_key(condition, case) for condition in rule.when),
        steps=tuple(steps),
    )


def _ladder_key(rule: Rule, case: Case) -> tuple[KeyExplained, ...]:
    if rule.measure is None:
        return ()
    phases = COUNTS_IN[rule.measure]
    wanted = " or ".join(sorted(phase.name.lower() for phase in phases))
    phase = case.transaction.phase
    return (KeyExplained(key="state", wanted=wanted, found=phase.name.lower(), holds=phase in phases),)


def _explain_key(condition: Condition, case: Case) -> KeyExplained:
    return KeyExplained(
        key=condition.key, wanted=condition.wanted, found=condition.found(case), holds=condition.holds(case)
    )


def _explain_step(
    step: Step, rule: Rule, seconds: float | None, case: Case, history: History, *, spared: bool
) -> StepExplained:
    reached = history.reached.get(rule.name)
    state, left = StepState.DUE, 0.0
    if reached is not None and step.action.rank <= reached.rank:
        state = StepState.TAKEN
    elif seconds is None:
        state = StepState.NO_MATCH
    elif not is_possible(step.action, case.transaction):
        state = StepState.NOT_POSSIBLE
    elif seconds < step.at:
        state, left = StepState.AHEAD, step.at - seconds
    elif spared and step.action is not Action.WARN:
        state = StepState.SPARED
    return StepExplained(action=step.action, at_seconds=step.at, state=state, in_seconds=left)


def _rule_json(rule: RuleExplained) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "setting": rule.setting,
        "mode": rule.mode,
        "matches": rule.matches,
        "matched_seconds": round(rule.matched_seconds, 3),
        "spared_by": rule.spared_by,
        "keys": [{"key": key.key, "wanted": key.wanted, "found": key.found, "holds": key.holds} for key in rule.keys],
        "steps": [
            {
                "action": step.action.value,
                "at_seconds": step.at_seconds,
                "state": step.state.value,
                "in_seconds": round(step.in_seconds, 3),
            }
            for step in rule.steps
        ],
    }
