"""From what became of verdicts and orders to incidents: recorded, counted, and put on the transaction's timeline."""

from collections.abc import Callable, Mapping
from typing import Final

from poolguard.core.clock import Clock
from poolguard.core.errors import PoolguardError
from poolguard.core.ids import TransactionId
from poolguard.guard.actions import Order
from poolguard.guard.book import IncidentBook
from poolguard.guard.counters import BY_HAND, GuardCounters
from poolguard.guard.evidence import classify, party_of, pool_state_of
from poolguard.guard.exemptions import Spared
from poolguard.guard.history import Action
from poolguard.guard.incidents import (
    ClientSees,
    Incident,
    IncidentKind,
    IncidentMode,
    IncidentOutcome,
    Matched,
    PoolState,
    Threshold,
)
from poolguard.guard.locks.graph import Tree
from poolguard.guard.locks.tell import incident_tree
from poolguard.guard.plan import Limit
from poolguard.guard.records import Records
from poolguard.guard.rules import Verdict
from poolguard.guard.wording import ADVICE, client_sees, error_for, exemption_for
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.policies import PolicyMode

_REACHES_CLIENT: Final = frozenset({IncidentOutcome.DONE, IncidentOutcome.FAILED, IncidentOutcome.OBSERVED})


def noted_outcome(verdict: Verdict) -> IncidentOutcome:
    """What a verdict comes to for which nothing is done: a warning is done with that, the rest was only observed."""
    return IncidentOutcome.OBSERVED if verdict.mode is PolicyMode.OBSERVE else IncidentOutcome.DONE


class Reporter:
    """Builds and records incidents of transactions."""

    def __init__(
        self,
        clock: Clock,
        book: IncidentBook,
        snapshot: Callable[[str], PoolSnapshot | None],
        records: Records,
        counters: GuardCounters,
        tree_of: Callable[[TransactionId], Tree | None],
    ) -> None:
        self._clock = clock
        self._book = book
        self._snapshot = snapshot
        self._records = records
        self._counters = counters
        self._tree_of = tree_of

    def pool_state(self, pool: str) -> PoolState | None:
        """The pool's numbers right now."""
        return pool_state_of(self._snapshot(pool))

    def lock_tree(self, transaction: Transaction) -> Mapping[str, object] | None:
        """Who waits because of *transaction* right now, as an incident keeps it."""
        tree = self._tree_of(transaction.id) if transaction.blocking else None
        return incident_tree(tree) if tree is not None else None

    def noted(
        self, verdict: Verdict, outcome: IncidentOutcome, kills_left: int, spared: Spared | Limit | None = None
    ) -> Incident:
        """Record a verdict for which nothing was done to the transaction; *spared*: what kept it from that."""
        incident, pool = self._book.new_id(), verdict.transaction.pool
        error, state = error_for(verdict, incident), self.pool_state(pool)
        tree = self.lock_tree(verdict.transaction)
        return self._of_verdict(
            verdict, incident, self._clock.wall(), outcome, 0.0, error, state, tree, kills_left, spared
        )

    def carried_out(
        self, order: Order, verdict: Verdict, outcome: Outcome, seconds: float, kills_left: int
    ) -> Incident:
        """Record what became of a verdict's *order*, which took *seconds*."""
        ended = IncidentOutcome(outcome.value)
        state, tree = order.pool_state, order.lock_tree
        return self._of_verdict(verdict, order.incident, order.at, ended, seconds, order.error, state, tree, kills_left)

    def by_hand(self, order: Order, policy: str, outcome: Outcome, seconds: float) -> Incident:
        """Record what became of an operator's *order*."""
        classification = classify(order.transaction)
        ended = IncidentOutcome(outcome.value)
        incident = Incident(
            id=order.incident,
            at=order.at,
            kind=IncidentKind.BY_HAND,
            mode=IncidentMode.ENFORCE,
            pool=order.transaction.pool,
            policy=policy,
            settings_hash=self._book.settings_hash,
            action=order.action,
            outcome=ended,
            outcome_seconds=seconds,
            actor=order.actor,
            transaction=party_of(order.transaction),
            lock_tree=order.lock_tree,
            pool_state=order.pool_state,
            client_sees=_seen(order.action, order.error, ended),
            timeline=self._records.timeline(order.transaction.id),
            classification=classification,
            advice=ADVICE[classification],
        )
        return self._record(incident, order.transaction, order.action, BY_HAND)

    def _of_verdict(
        self,
        verdict: Verdict,
        incident_id: str,
        at: float,
        outcome: IncidentOutcome,
        seconds: float,
        error: PoolguardError,
        pool_state: PoolState | None,
        lock_tree: Mapping[str, object] | None,
        kills_left: int,
        spared: Spared | Limit | None = None,
    ) -> Incident:
        transaction = verdict.transaction
        classification = classify(transaction)
        incident = Incident(
            id=incident_id,
            at=at,
            kind=IncidentKind.ACTION,
            mode=IncidentMode(verdict.mode.value),
            pool=transaction.pool,
            policy=verdict.policy,
            settings_hash=self._book.settings_hash,
            rule=str(verdict.rule),
            action=verdict.action,
            outcome=outcome,
            outcome_seconds=seconds,
            threshold=Threshold(limit_seconds=verdict.limit_seconds, actual_seconds=verdict.actual_seconds),
            matched=tuple(Matched(key=key, wanted=wanted, found=found) for key, wanted, found in verdict.matched),
            also_matched=verdict.also,
            spared_by=spared.value if spared is not None else None,
            transaction=party_of(transaction),
            lock_tree=lock_tree,
            pool_state=pool_state,
            client_sees=_seen(verdict.action, error, outcome),
            timeline=self._records.timeline(transaction.id),
            kills_left=kills_left,
            classification=classification,
            advice=ADVICE[classification],
            exemption=exemption_for(transaction, verdict.rules),
        )
        return self._record(incident, transaction, verdict.action, verdict.rule)

    def _record(self, incident: Incident, transaction: Transaction, action: Action, rule: str) -> Incident:
        self._counters.actions[incident.pool, rule, action.value, incident.outcome.value] += 1
        incident = self._book.record(incident)
        self._records.add_to_timeline(transaction.id, incident)
        return incident


def _seen(action: Action, error: PoolguardError, outcome: IncidentOutcome) -> ClientSees | None:
    return client_sees(action, error) if outcome in _REACHES_CLIENT else None
