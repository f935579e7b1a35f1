"""The guard: matches, actions, budget, sweeps. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from poolguard.guard.counters import CourierCounters, GuardCounters, Resolution
from poolguard.guard.exemptions import Spared
from poolguard.guard.history import Action
from poolguard.ledger.hands import Outcome
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.settings.model import Settings
from poolguard.settings.policies import LADDERS, Ladder, PolicyMode

RULES: Final = LADDERS
STEPS: Final = tuple(action.value for action in Action)


def guard_readings(guard: GuardCounters, settings: Settings) -> Iterator[Reading]:
    """Everything that the guard counts, with zeros for what the policies can do and have not done yet."""
    rules = (*RULES, *(rule.name for policy in settings.policies.values() for rule in policy.rules))
    matches = Counter({(rule, mode.value): 0 for rule in rules for mode in PolicyMode})
    matches.update(guard.matches)
    for rule_and_mode, number in matches.items():
        yield Reading(c.POLICY_MATCHES, rule_and_mode, number)
    actions = Counter(dict.fromkeys(possible_actions(settings), 0))
    actions.update(guard.actions)
    for labels, number in actions.items():
        yield Reading(c.POLICY_ACTIONS, labels, number)
    spared = Counter({(policy, reason.value): 0 for policy in settings.policies for reason in Spared})
    spared.update(guard.spared)
    for policy_and_reason, number in spared.items():
        yield Reading(c.SPARED, policy_and_reason, number)
    leaks = Counter({(pool, resolution.value): 0 for pool in settings.pools for resolution in Resolution})
    leaks.update(guard.leaks)
    for pool_and_resolution, number in leaks.items():
        yield Reading(c.LEAKS, pool_and_resolution, number)
    for policy in {**settings.policies, **guard.budget_exhausted}:
        yield Reading(c.BUDGET_EXHAUSTED, (policy,), guard.budget_exhausted[policy])
        yield Reading(c.BUDGET_SPENT, (policy,), int(policy in guard.exhausted_now))
    yield Reading(c.GUARD_SWEEPS, (), guard.sweeps)
    yield Reading(c.GUARD_SWEEP_FAILURES, (), guard.sweep_failures)
    yield Reading(c.GUARD_LATE_SWEEPS, (), guard.late_sweeps)
    yield Reading(c.GUARD_SWEEP_SECONDS, (), guard.sweep_seconds)


def foreign_readings(foreign: GuardCounters, settings: Settings) -> Iterator[Reading]:
    """What was done about lock holders that are not ours, with zeros for what the rules can do."""
    actions: Counter[tuple[str, str, str]] = Counter()
    for rule in settings.foreign_blockers.rules:
        for step in ("warn", "cancel", "terminate"):
            if getattr(rule.then, step) is not None:
                outcomes = (Outcome.DONE,) if step == "warn" else (Outcome.DONE, Outcome.FAILED, Outcome.NO_PRIVILEGE)
                actions.update({(rule.name, step, outcome.value): 0 for outcome in outcomes})
    for (_, rule_name, step, outcome), number in foreign.actions.items():
        actions[rule_name, step, outcome] += number
    for labels, number in actions.items():
        yield Reading(c.FOREIGN_ACTIONS, labels, number)


def courier_readings(metric: c.Metric, courier: CourierCounters) -> Iterator[Reading]:
    """What became of incidents that are told outside."""
    for outcome in ("sent", "repeats", "failed", "missed"):
        yield Reading(metric, (outcome,), getattr(courier, outcome))


def possible_actions(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Pool, rule, action, outcome of each step that some pool's policy has, done or failed.

    They are there from the start, so that `increase()` sees the first one; rarer outcomes come when they come.
    """
    for pool_name, pool in settings.pools.items():
        policy = settings.policies.get(pool.policy)
        if policy is None:
            continue
        ladders: list[tuple[str, Ladder | None]] = [(rule, getattr(policy, rule)) for rule in RULES]
        ladders += [(rule.name, rule.then) for rule in policy.rules]
        for rule, ladder in ladders:
            for step in STEPS:
                if ladder is not None and getattr(ladder, step) is not None:
                    for outcome in (Outcome.DONE, Outcome.FAILED):
                        yield pool_name, rule, step, outcome.value
