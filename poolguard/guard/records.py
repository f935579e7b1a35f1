"""What is remembered of each transaction that holds a server and was not left in peace: history and timeline."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from poolguard.core.ids import TransactionId
from poolguard.guard.history import Action, History
from poolguard.guard.incidents import Incident, TimelineStep
from poolguard.guard.rules import Verdict
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from poolguard.settings.policies import PolicyMode

MAX_TIMELINE: Final = 16
_NOTHING: Final = History()


@dataclass(slots=True)
class _Record:
    pool: str
    history: History
    timeline: tuple[TimelineStep, ...] = ()


class Records:
    """By TransactionId; holds only transactions that hold a server, so it is bounded by the pools' sizes."""

    def __init__(self) -> None:
        self._records: dict[TransactionId, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def history(self, transaction: TransactionId) -> History:
        """What was done about it; empty for nothing."""
        record = self._records.get(transaction)
        return _NOTHING if record is None else record.history

    def timeline(self, transaction: TransactionId) -> tuple[TimelineStep, ...]:
        """Its earlier incidents, oldest first, the latest `MAX_TIMELINE`."""
        record = self._records.get(transaction)
        return () if record is None else record.timeline

    def keep(self, transaction: Transaction, history: History) -> None:
        """Put *history* in place of what there was. Another transaction of the checkout starts a new timeline."""
        record = self._records.get(transaction.id)
        if record is None:
            self._records[transaction.id] = _Record(transaction.pool, history)
            return
        if history.began_at != record.history.began_at:
            record.timeline = ()
        record.history = history

    def note(self, verdict: Verdict, outcome: Outcome, *, seen: float, now: float) -> None:
        """Note that what *verdict* asks for came to *outcome* at *now*; its facts were read at *seen*."""
        rule, action, transaction = verdict.rule, verdict.action, verdict.transaction
        observed = verdict.mode is PolicyMode.OBSERVE

        def after(history: History) -> History:
            return history.after(rule, action, outcome, transaction, seen=seen, now=now, observed=observed)

        self._change(transaction, seen, after)

    def ended(self, transaction: Transaction, *, seen: float) -> None:
        """Note that an operator ended it: the guard leaves it alone."""
        self._change(transaction, seen, lambda history: replace(history, ended=True))

    def withhold(self, transaction: Transaction, rule: str, action: Action, *, seen: float) -> bool:
        """Note that *action* was due and left undone. False if that was noted before."""
        if (rule, action) in self.history(transaction.id).continued(transaction, seen).withheld:
            return False
        self._change(transaction, seen, lambda history: replace(history, withheld=history.withheld | {(rule, action)}))
        return True

    def add_to_timeline(self, transaction: TransactionId, incident: Incident) -> None:
        """Let later incidents of *transaction* show this one."""
        record = self._records.get(transaction)
        if record is None or incident.action is None:
            return
        step = TimelineStep(
            incident=incident.id,
            at=incident.at,
            rule=incident.rule or incident.kind.value,
            action=incident.action,
            outcome=incident.outcome,
        )
        record.timeline = (*record.timeline, step)[-MAX_TIMELINE:]

    def purge(self, alive: Collection[TransactionId]) -> list[tuple[TransactionId, str, History]]:
        """Forget all that are not *alive*; those, with their pools and what was done about them."""
        gone = [(transaction, self._records[transaction]) for transaction in self._records.keys() - alive]
        for transaction, _ in gone:
            del self._records[transaction]
        return [(transaction, record.pool, record.history) for transaction, record in gone]

    def settings_changed(self, pools_with_new_mode: Collection[str]) -> None:
        """Judge exemptions anew; where the mode changed, everything: what was only observed was not done."""
        for transaction, record in list(self._records.items()):
            if record.pool in pools_with_new_mode:
                del self._records[transaction]
            else:
                record.history = replace(record.history, exempt=False)

    def _change(self, transaction: Transaction, seen: float, change: Callable[[History], History]) -> None:
        before = self.history(transaction.id)
        if before.is_later_than(transaction, seen):
            return  # the checkout went on to another transaction while the action was under way
        self.keep(transaction, change(before.continued(transaction, seen)))
