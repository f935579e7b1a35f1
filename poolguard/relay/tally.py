"""How transactions ended: counted when they have, and by far the most of them by nobody.

A checkout that ends by itself is one transaction that was committed, unless something here says otherwise; so a
statement that stands alone and succeeds costs nothing. Who began with BEGIN, or got an error, comes by here on the way
to rest (`SessionState.afterwards`). A session that keeps its server is counted at the end of each of its transactions.
All is counted in the turn of the loop in which the checkout ends: what is derived from both never falls.
"""

from collections import Counter
from enum import StrEnum
from typing import Final, Protocol

from poolguard.core.histogram import TRANSACTION_BOUNDS, Histogram
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.wire.text import Kind, classify

_OPEN: Final = frozenset({Phase.ACTIVE, Phase.IDLE_IN_TRANSACTION, Phase.FAILED_TRANSACTION})
_ROLLBACK: Final = Kind.ROLLBACK  # an enum's attribute costs a look-up that a constant of the module does not


class TransactionEnd(StrEnum):
    """What became of a transaction. A label of metrics."""

    COMMIT = "commit"
    ROLLBACK = "rollback"
    """Its client took it back."""
    ERROR = "error"
    """PostgreSQL undid it, or its connection broke."""
    KILLED = "killed"
    """The guard, or an operator, rolled it back or ended its session."""
    ABANDONED = "abandoned"
    """Its client went away in the middle."""


class Tally:
    """Of all sessions. Read at scrape time."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, TransactionEnd]] = Counter()
        """By (pool, end): those that can't be told from the number of checkouts."""
        self.checkouts: Counter[str] = Counter()
        """By pool: checkouts that have ended and are in `ended`, or ended outside of any transaction."""
        self.seconds: dict[str, Histogram] = {}
        """By pool: how long transactions were open that were begun by BEGIN."""

    def committed(self, pool: str, checkouts: int) -> int:
        """How many transactions were committed in *pool*, of whose checkouts so many have ended."""
        return checkouts - self.checkouts[pool] + self.ended[pool, TransactionEnd.COMMIT]

    def at_rest(self, session: "Counted", now: float) -> None:
        """A transaction that was begun, or had an error, is over, and its server was given back."""
        pool = session.pool.name
        if session.spoilt or classify(session.entry.statement).kind is _ROLLBACK:
            end = _end_of(session)
            if end is not TransactionEnd.COMMIT:
                self.checkouts[pool] += 1
                self.ended[pool, end] += 1
            session.spoilt = 0
        if session.began:
            session.began = False
            self._observe(pool, now - session.entry.began_at)

    def kept(self, session: "Counted", now: float) -> None:
        """A transaction is over, and its session keeps the server."""
        pool = session.pool.name
        self.ended[pool, _end_of(session)] += 1
        if session.began or classify(session.entry.statement).only_ends:
            self._observe(pool, now - session.entry.began_at)
        session.began, session.spoilt = False, 0

    def cut(self, session: "Counted", end: TransactionEnd, now: float, *, gives_back: bool = True) -> None:
        """A transaction is ended from outside, if one is open; the server goes, unless the session keeps it."""
        pool, entry = session.pool.name, session.entry
        self.checkouts[pool] += gives_back
        if entry.phase in _OPEN:
            self.ended[pool, end] += 1
            if session.began or entry.phase is not Phase.ACTIVE:
                self._observe(pool, now - entry.began_at)
        session.began, session.spoilt = False, 0

    def _observe(self, pool: str, seconds: float) -> None:
        histogram = self.seconds.get(pool)
        if histogram is None:
            histogram = self.seconds[pool] = Histogram(TRANSACTION_BOUNDS)
        histogram.observe(seconds)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class Counted(Protocol):
    """What is read of a session, and set back."""

    began: bool
    spoilt: int

    @property
    def entry(self) -> SessionEntry: ...
    @property
    def pool(self) -> _Named: ...


def _end_of(session: Counted) -> TransactionEnd:
    entry = session.entry
    if session.spoilt and session.spoilt >= entry.statements:
        return TransactionEnd.ERROR
    return TransactionEnd.ROLLBACK if classify(entry.statement).kind is _ROLLBACK else TransactionEnd.COMMIT
