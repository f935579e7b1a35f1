"""What a transaction's statements say about it: whether it wrote, holds a savepoint, what kind of work it is. Pure.

Read only when a rule asks, never per message. The ledger remembers the latest statements: where earlier ones are
forgotten, the answer is None (not known) instead of a guess.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from poolguard.core.ids import TransactionId
from poolguard.ledger.facts import Transaction
from poolguard.wire.classes import Savepoint, StatementClass, classes_of, isolation_of, savepoints_of
from poolguard.wire.fingerprint import comment_tags, fingerprint

ENDS_TRANSACTION: Final = frozenset(
    {StatementClass.COMMIT, StatementClass.ROLLBACK, StatementClass.PREPARE_TRANSACTION}
)
WRITES: Final = frozenset({StatementClass.WRITE, StatementClass.LOCK})

STATEMENT_TIMEOUT: Final = "statement_timeout"
IDLE_TIMEOUT: Final = "idle_in_transaction_session_timeout"
TRANSACTION_TIMEOUT: Final = "transaction_timeout"
_SET_TIMEOUT: Final = re.compile(
    rb"\bset\s+(?:session\s+|local\s+)?(statement_timeout|idle_in_transaction_session_timeout|transaction_timeout)"
    rb"\s*(?:=|\sto\s)\s*'?(\d+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What was read. None: not known."""

    fingerprint: str = ""
    """Of the statement that runs, or ran last."""
    text: str = ""
    """Its text without literals."""
    latest: frozenset[StatementClass] = frozenset()
    """Its classes."""
    classes: frozenset[StatementClass] = frozenset()
    """Of all statements of the transaction that are known."""
    wrote: bool | None = None
    savepoint: bool | None = None
    isolation: str = ""
    """Empty: not said, or not known."""
    tags: dict[str, str] = field(default_factory=dict)
    """sqlcommenter tags, later ones in front of earlier ones."""
    lifted: frozenset[str] = frozenset()
    """Timeouts that the client has set to 0 itself."""


def statements_of(transaction: Transaction) -> tuple[bytes, ...]:
    """Its latest statements, oldest first; the last is the latest."""
    recent, latest = transaction.recent, transaction.statement
    return recent if not latest or (recent and recent[-1] == latest) else (*recent, latest)


def read_traits(transaction: Transaction) -> Traits:
    """Read the statements of *transaction*. One that is new takes up to 3 ms (`fingerprint`)."""
    known = statements_of(transaction)
    prints = [fingerprint(sql) for sql in known]
    classes = [classes_of(each.text) for each in prints]
    start = _start(classes)
    complete = start is not None or transaction.statements <= len(known)
    start = start or 0
    texts = [each.text for each in prints[start:]]
    all_classes = frozenset[StatementClass]().union(*classes[start:])
    tags: dict[str, str] = {}
    for sql in known[start:]:
        tags.update(comment_tags(sql))
    return Traits(
        fingerprint=prints[-1].id if prints else "",
        text=texts[-1] if texts else "",
        latest=classes[-1] if classes else frozenset(),
        classes=all_classes,
        wrote=True if all_classes & WRITES else False if complete else None,
        savepoint=_savepoint_open(texts, complete=complete),
        isolation=next((level for text in reversed(texts) if (level := isolation_of(text))), ""),
        tags=tags,
        lifted=lifted_timeouts((*transaction.sets, *known[start:])),
    )


class KnownTraits:
    """What was read of transactions, for as long as no further statement comes: an idle one is read once."""

    def __init__(self) -> None:
        self._known: dict[TransactionId, tuple[int, int, Traits]] = {}

    def get(self, transaction: Transaction) -> Traits | None:
        """What was read, unless statements have come since."""
        known = self._known.get(transaction.id)
        if known is None or known[:2] != (transaction.statements, len(transaction.sets)):
            return None
        return known[2]

    def keep(self, transaction: Transaction, traits: Traits) -> None:
        """Remember what was read of *transaction*."""
        self._known[transaction.id] = (transaction.statements, len(transaction.sets), traits)

    def purge(self, alive: Collection[TransactionId]) -> None:
        """Forget all that are not *alive*."""
        for gone in self._known.keys() - alive:
            del self._known[gone]


def _start(classes: Sequence[frozenset[StatementClass]]) -> int | None:
    """Where the open transaction's statements begin; None if that was too long ago.

    Behind the end of the one before, for a server that is kept over several. The latest statement may be an end that
    still runs.
    """
    for index in range(len(classes) - 1, -1, -1):
        if index < len(classes) - 1 and classes[index] & ENDS_TRANSACTION:
            return index + 1
        if StatementClass.BEGIN in classes[index]:
            return index
    return None


def _savepoint_open(texts: Sequence[str], *, complete: bool) -> bool | None:
    steps: list[Savepoint] = [step for text in texts if "savepoint" in text or "release" in text or " to " in text
                              for step in savepoints_of(text)]  # fmt: skip
    names: list[str] = []
    for word, name in steps:
        if word == "savepoint":
            names.append(name)
        elif name in names:
            at = len(names) - 1 - names[::-1].index(name)
            del names[at + (word == "rollback") :]  # ROLLBACK TO keeps the savepoint itself (PostgreSQL docs)
    return True if names else False if complete else None


def lifted_timeouts(statements: Sequence[bytes]) -> frozenset[str]:
    """The timeouts that *statements*, in order, leave at 0 by SET."""
    lifted: set[str] = set()
    for sql in statements:
        for name, value in _SET_TIMEOUT.findall(sql):
            (lifted.discard if int(value[:9]) else lifted.add)(name.decode().lower())
    return frozenset(lifted)
