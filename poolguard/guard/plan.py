"""What to do about one sweep's verdicts, given what the budget has left. Pure.

The budget of a policy has two limits, each over the last `WINDOW_SECONDS`:

- `kills_per_minute`: cancels, rollbacks and terminates under the policy that were done, or may have been. 0 ends
  nothing.
- `max_share_of_pool`: how much of a pool's size may be out of service because of the guard: servers on which a cancel
  or terminate is under way right now, and servers that a terminate closed within the window. At least one. A rollback
  gives its server back clean within milliseconds, and neither counts nor waits: a pool full of leaks is emptied in one
  sweep, while a pool never loses more than this share to reconnecting.

`cooldown`, and a rule's `wait_after`, put off in silence too: whoever was blocked by the last victim goes on first, and
what then still matches is judged anew.

A limit that actions under way alone have filled puts off to a later sweep in silence; one that is used up withholds,
and that is said loudly: from then on a person decides. Warnings, and everything under `observe`, cost nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from poolguard.core.ids import TransactionId
from poolguard.guard.history import Action
from poolguard.guard.rules import Verdict
from poolguard.settings.policies import PolicyMode, Victims

WINDOW_SECONDS: Final = 60.0

MAX_CONNECTING: Final = 8
"""Cancels and terminates under way at once: each opens a connection to PostgreSQL beyond the pools' limits."""

CONNECTING: Final = frozenset({Action.CANCEL, Action.TERMINATE})


class Limit(StrEnum):
    """Which part of the budget is used up. Named as in the settings."""

    KILLS_PER_MINUTE = "kills_per_minute"
    SHARE_OF_POOL = "max_share_of_pool"


@dataclass(frozen=True, slots=True)
class Deed:
    """An action under way, or done at *at* (monotonic). *policy* is empty for one by hand."""

    at: float
    policy: str
    pool: str
    action: Action
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Record the verdict and do nothing to the transaction: a warning, or what would have been done."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Carry:
    """Carry the verdict out."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Withhold:
    """Leave the transaction alone, because *limit* is used up."""

    verdict: Verdict
    limit: Limit


Planned = Note | Carry | Withhold


def plan(
    verdicts: Iterable[Verdict],
    *,
    sizes: Mapping[str, int],
    under_way: Mapping[TransactionId, Deed],
    done: Sequence[Deed],
    now: float,
) -> list[Planned]:
    """Choose what to do: oldest transaction first, at most one action for each, none where one is under way.

    Of several verdicts on one transaction the first that is carried out wins, and of those that are only observed the
    first: *verdicts* are in the order of the rules. *sizes* are the pools' sizes; *done* the deeds of at least the
    last `WINDOW_SECONDS`.
    """
    all_of_them = list(verdicts)
    warnings: list[Planned] = [Note(verdict) for verdict in all_of_them if verdict.action is Action.WARN]
    firsts = _firsts(_victims(verdict for verdict in all_of_them if verdict.action is not Action.WARN))
    running = list(under_way.values())
    recent = [deed for deed in done if deed.at > now - WINDOW_SECONDS]
    steps: list[Planned] = []
    for verdict in sorted(firsts, key=_age, reverse=True):
        if verdict.transaction.id in under_way or _rests(verdict, running, recent, now):
            continue
        step = _decide(verdict, sizes.get(verdict.transaction.pool, 1), running, recent)
        if step is not None:
            steps.append(step)
        if isinstance(step, Carry):
            running.append(Deed(now, verdict.policy, verdict.transaction.pool, verdict.action, verdict.rule))
    # Actions go first: they have a promise to keep (200 ms), a warning has none.
    return steps + warnings


def _victims(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """Of the rules that are about one transaction of a pool at a time, the verdict on that one; of others all."""
    chosen: dict[tuple[str, str], Verdict] = {}
    kept = list(verdicts)
    for verdict in kept:
        if verdict.of.victims is not Victims.ALL:
            key = verdict.rule, verdict.transaction.pool
            best = chosen.get(key)
            if best is None or _weight(verdict) > _weight(best):
                chosen[key] = verdict
    for verdict in kept:
        if verdict.of.victims is Victims.ALL or chosen[verdict.rule, verdict.transaction.pool] is verdict:
            yield verdict


def _weight(verdict: Verdict) -> tuple[float, float]:
    transaction = verdict.transaction
    if verdict.of.victims is Victims.MOST_BLOCKING:
        return (transaction.blocking, transaction.blocking_seconds)
    return (_age(verdict), 0.0)


def _firsts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Of each transaction the first verdict that is carried out and the first that is observed; others are named."""
    by_transaction: dict[TransactionId, list[Verdict]] = {}
    for verdict in verdicts:
        by_transaction.setdefault(verdict.transaction.id, []).append(verdict)
    firsts = []
    for found in by_transaction.values():
        for mode in PolicyMode:
            first = next((verdict for verdict in found if verdict.mode is mode), None)
            if first is not None:
                also = tuple(verdict.rule for verdict in found if verdict is not first)
                firsts.append(replace(first, also=also) if also else first)
    return firsts


def _rests(verdict: Verdict, running: Sequence[Deed], recent: Sequence[Deed], now: float) -> bool:
    """Whether the pool is left in peace for a while, so that those go on whom the last victim had blocked."""
    if verdict.is_note:
        return False
    cooldown, pool = verdict.rules.budget.cooldown, verdict.transaction.pool
    alone = verdict.of.victims is not Victims.ALL
    for deed in (*running, *recent):
        if deed.pool != pool or deed.policy != verdict.policy:
            continue
        if cooldown and deed.at > now - cooldown:
            return True
        if deed.rule == verdict.rule and verdict.of.wait_after and deed.at > now - verdict.of.wait_after:
            return True
    return any(
        deed.pool == pool and (cooldown or (deed.rule == verdict.rule and (alone or verdict.of.wait_after)))
        for deed in running
    )


def _age(verdict: Verdict) -> float:
    return max(verdict.transaction.transaction_seconds, verdict.transaction.checkout_seconds)


def _decide(verdict: Verdict, size: int, running: Sequence[Deed], recent: Sequence[Deed]) -> Planned | None:
    """Say what becomes of one action; None: not now, in silence."""
    if verdict.is_note:
        return Note(verdict)
    kills = verdict.rules.budget.kills_per_minute
    killed = sum(deed.policy == verdict.policy for deed in recent)
    if killed >= kills:
        return Withhold(verdict, Limit.KILLS_PER_MINUTE)
    if verdict.action is Action.ROLLBACK:
        return None if killed + sum(deed.policy == verdict.policy for deed in running) >= kills else Carry(verdict)
    pool = verdict.transaction.pool
    share = share_of_pool(size, verdict.rules.budget.max_share_of_pool)
    lost = sum(deed.pool == pool and deed.action is Action.TERMINATE for deed in recent)
    if lost >= share:
        return Withhold(verdict, Limit.SHARE_OF_POOL)
    if killed + sum(deed.policy == verdict.policy for deed in running) >= kills:
        return None
    if lost + sum(deed.pool == pool and deed.action in CONNECTING for deed in running) >= share:
        return None
    if verdict.action in CONNECTING and sum(deed.action in CONNECTING for deed in running) >= MAX_CONNECTING:
        return None
    return Carry(verdict)


def share_of_pool(size: int, share: float) -> int:
    """How many servers of a pool of *size* a share is: rounded down, at least one."""
    return max(1, int(size * share))


def kills_left(verdict: Verdict, done: Iterable[Deed], now: float) -> int:
    """What `kills_per_minute` of the verdict's policy still allows."""
    recent = sum(deed.policy == verdict.policy and deed.at > now - WINDOW_SECONDS for deed in done)
    return max(0, verdict.rules.budget.kills_per_minute - recent)
