"""The steps taken against one transaction, as a value: what makes that nothing is done twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome


class Action(StrEnum):
    """The steps of the ladder, mildest first."""

    WARN = "warn"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    TERMINATE = "terminate"

    @property
    def rank(self) -> int:
        """How harsh: 0 for the mildest."""
        return _RANKS[self]


_RANKS: Final = {action: rank for rank, action in enumerate(Action)}


class RuleName(StrEnum):
    """The ladders of a policy, named as in the settings."""

    IDLE_IN_TRANSACTION = "idle_in_transaction"
    TRANSACTION_AGE = "transaction_age"
    STATEMENT_AGE = "statement_age"
    CHECKOUT_AGE = "checkout_age"


FIRST_RETRY_SECONDS: Final = 0.2
LAST_RETRY_SECONDS: Final = 30.0
_SAME_MOMENT_SECONDS: Final = 0.001
"""Starts are computed back from ages: closer than this they are the same start."""

ENDS: Final = frozenset({Action.ROLLBACK, Action.TERMINATE})


@dataclass(frozen=True, slots=True)
class Retry:
    """A step that was tried and not done: when it may be tried again, and after how many attempts."""

    at: float
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was done about one transaction. Times are on the monotonic clock."""

    began_at: float = float("-inf")
    """Which transaction of the checkout this is about."""
    reached: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    """The harshest step of each rule that was taken, or tried."""
    cancelled: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """When the statement began that the rule cancelled last: each statement is cancelled once."""
    retries: Mapping[tuple[str, Action], Retry] = field(default_factory=lambda: MappingProxyType({}))
    withheld: frozenset[tuple[str, Action]] = frozenset()
    """Steps that were due, not taken, and reported as such: no budget, or the work is protected."""
    matched: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Since when a rule has been seen to match whose keys don't tell it themselves."""
    exempt: bool = False
    """Found exempt: stays so, even when the marker's statement is forgotten."""
    ended: bool = False
    """Rolled back or terminated."""
    would_end: bool = False
    """Would have been, by a rule that only observes: such rules say nothing more."""

    def continued(self, transaction: Transaction, now: float) -> "History":
        """Carry over to *transaction*: itself if it is the same one, else only what concerns the checkout."""
        began_at = now - transaction.transaction_seconds
        if began_at <= self.began_at + _SAME_MOMENT_SECONDS:
            return self
        checkout = RuleName.CHECKOUT_AGE
        return History(
            began_at=began_at,
            reached={rule: action for rule, action in self.reached.items() if rule == checkout},
            cancelled={rule: since for rule, since in self.cancelled.items() if rule == checkout},
            retries={step: retry for step, retry in self.retries.items() if step[0] == checkout},
            withheld=frozenset(step for step in self.withheld if step[0] == checkout),
        )

    def is_later_than(self, transaction: Transaction, now: float) -> bool:
        """Tell whether this is about a transaction of the checkout that began after *transaction*."""
        return now - transaction.transaction_seconds < self.began_at - _SAME_MOMENT_SECONDS

    def allows(self, rule: str, action: Action, transaction: Transaction, now: float) -> bool:
        """Tell whether *action* was not taken yet, nor one harsher, and is not waiting to be tried again."""
        reached = self.reached.get(rule)
        if reached is None or action.rank > reached.rank:
            return True
        if action.rank < reached.rank:
            return False
        retry = self.retries.get((rule, action))
        if retry is not None:
            return now >= retry.at
        if action is Action.CANCEL:
            return statement_since(transaction, now) > self.cancelled[rule] + _SAME_MOMENT_SECONDS
        return False

    def after(
        self,
        rule: str,
        action: Action,
        outcome: Outcome,
        transaction: Transaction,
        *,
        seen: float,
        now: float,
        observed: bool = False,
    ) -> "History":
        """Note that *action* came to *outcome* at *now*, on the facts of *transaction* as *seen* then.

        *observed*: it was not done, only noted.
        """
        step = (rule, action)
        reached = {**self.reached, rule: action}
        cancelled = {**self.cancelled}
        retries = {key: retry for key, retry in self.retries.items() if key != step}
        if action is Action.CANCEL:
            cancelled[rule] = statement_since(transaction, seen)
        # A statement that ended before the cancel reached it needs no second one.
        is_over = outcome is Outcome.DONE or (action is Action.CANCEL and outcome is Outcome.VICTIM_MOVED)
        if not is_over:
            attempts = self.retries[step].attempts + 1 if step in self.retries else 1
            pause = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10))
            retries[step] = Retry(now + pause, attempts)
        ends = action in ENDS and outcome is Outcome.DONE
        return replace(
            self,
            reached=reached,
            cancelled=cancelled,
            retries=retries,
            ended=self.ended or (ends and not observed),
            would_end=self.would_end or (ends and observed),
        )


def statement_since(transaction: Transaction, now: float) -> float:
    """When the running statement began: what tells one statement from the next."""
    return now - transaction.statement_seconds
