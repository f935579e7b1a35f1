"""Roots of the lock graph that are not ours, as transactions that rules can judge. Pure; one door, `read`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.locks.backends import Backend
from poolguard.guard.locks.graph import LockGraph, Tree
from poolguard.guard.traits import Traits
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.wire.classes import classes_of

MOST_SUSPECTS: Final = 50
"""Roots that are judged at one look: those with the most waiters."""
REMEMBERED_SECONDS: Final = 60.0
"""How long one is remembered that is no root any more: it may be one again at the next look."""

CLIENT_BACKEND: Final = "client backend"

_PHASES: Final = {
    "active": Phase.ACTIVE,
    "fastpath function call": Phase.ACTIVE,
    "idle in transaction": Phase.IDLE_IN_TRANSACTION,
    "idle in transaction (aborted)": Phase.FAILED_TRANSACTION,
}
"""By pg_stat_activity.state. All else (idle with a session's lock, or not to be seen) keeps its locks as a pin does."""

_UNKNOWN_STATEMENTS: Final = 1_000_000
"""More than are known: pg_stat_activity shows the latest only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A backend that is not ours and for which sessions of ours wait."""

    tree: Tree
    backend: Backend
    transaction: Transaction
    """The same as facts. Its id is of this poolguard's own making, and names this transaction of this process."""
    traits: Traits


@dataclass(slots=True)
class _Known:
    """What must stay the same from look to look, though each look reads ages anew."""

    id: TransactionId
    began_at: float
    state: tuple[str, datetime | None]
    state_since: float
    seen_at: float


class Suspects:
    """Remembers who was seen, so that what was done about a transaction is not done twice. Times are monotonic."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, datetime | None, datetime | None], _Known] = {}
        self._numbers = count(1)

    def read(self, graph: LockGraph, now: float, ours: Collection[int]) -> list[Suspect]:
        """Those of *graph*, which was read just before *now*. *ours*: pids of our servers, busy or not."""
        found: list[Suspect] = []
        for tree in graph.trees:
            backend = tree.backend
            if backend is None or backend.transaction is not None or backend.pid in ours:
                continue
            waits = [branch.wait.seconds for branch in tree.branches if branch.backend and branch.backend.transaction]
            if backend.kind == CLIENT_BACKEND and waits:
                found.append(self._suspect(tree, backend, waits, now))
            if len(found) == MOST_SUSPECTS:
                break
        for key, known in list(self._known.items()):
            if known.seen_at <= now - REMEMBERED_SECONDS:
                del self._known[key]
        return found

    @property
    def remembered(self) -> set[TransactionId]:
        """Ids of all that were suspects a moment ago."""
        return {known.id for known in self._known.values()}

    def _suspect(self, tree: Tree, backend: Backend, waits: Iterable[float], now: float) -> Suspect:
        waits = list(waits)
        known = self._recognise(backend, now)
        statement = backend.statement
        text = statement.text if statement is not None else ""
        phase = _PHASES.get(backend.state, Phase.PINNED)
        in_state = now - known.state_since
        age = max(in_state, now - known.began_at)
        classes = classes_of(text) if text else frozenset()
        return Suspect(
            tree=tree,
            backend=backend,
            transaction=Transaction(
                id=known.id,
                pool="",
                user=backend.user,
                database=backend.database,
                application_name=backend.application_name,
                client_address=backend.client_address,
                backend_pid=backend.pid,
                phase=phase,
                phase_seconds=in_state,
                transaction_seconds=age,
                statement_seconds=in_state if phase is Phase.ACTIVE else 0.0,
                checkout_seconds=age,
                statements=_UNKNOWN_STATEMENTS,
                # Not what was sent, but all that exemptions ask: its words without literals, and its comments.
                statement=f"{text}\n{backend.comments}".encode(),
                recent=(),
                pin="",
                blocking=len(waits),
                blocking_seconds=max(waits),
            ),
            traits=Traits(
                fingerprint=statement.id if statement is not None else "", text=text, latest=classes, classes=classes
            ),
        )

    def _recognise(self, backend: Backend, now: float) -> _Known:
        identity = backend.identity
        key = backend.pid, identity.backend_start, identity.xact_start
        state = backend.state, identity.state_change
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(
                id=TransactionId(SessionId(backend.pid), next(self._numbers)),
                began_at=now - backend.transaction_seconds,
                state=state,
                state_since=now - backend.state_seconds,
                seen_at=now,
            )
        elif known.state != state:
            known.state, known.state_since = state, now - backend.state_seconds
        known.seen_at = now
        return known
