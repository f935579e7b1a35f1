"""The book with a voice: facts from PostgreSQL go in, and what changes is logged, counted and passed on."""

import logging
from collections.abc import Callable
from typing import Final, assert_never

from poolguard.core.clock import Clock
from poolguard.lease.book import Began, Belief, Book, Confirmed, Ended, Extended, Fact, Gone, Seen
from poolguard.lease.counters import LeaseCounters
from poolguard.lease.terms import Row

log = logging.getLogger(__name__)


class Beliefs:
    """What this process believes, as of now."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self.book: Final = Book()
        self.counters: Final = LeaseCounters(lambda: self.book.views(now=clock.boottime()))
        self.on_ended: list[Callable[[Belief], None]] = []
        """Called at once when a term is believed no longer, whatever the reason."""

    def note(self, fact: Fact) -> None:
        """Take in *fact*."""
        for change in self.book.take(fact, now=self._clock.boottime()):
            match change:
                case Began(belief):
                    log.info("lease held", extra=_facts(belief))
                case Ended(belief, reason):
                    for told in self.on_ended:
                        told(belief)
                    if reason is not None:  # else it was given back: release() says so, once PostgreSQL has
                        self.counters.lost[reason] += 1
                        log.warning("lease lost", extra={**_facts(belief), "reason": reason.value})
                case Extended():
                    pass
                case _:
                    assert_never(change)

    def confirm(self, row: Row, sent_at: float) -> None:
        """PostgreSQL granted, replayed or renewed the term in *row*, for a request sent at *sent_at* (boottime)."""
        assert row.holder is not None, "a confirmed term has a holder"
        self.note(
            Confirmed(
                name=row.name,
                holder=row.holder,
                token=row.token,
                transitions=row.transitions,
                ttl_seconds=row.ttl_seconds,
                valid_for_seconds=row.valid_for_seconds,
                sent_at=sent_at,
            )
        )

    def shown(self, row: Row) -> None:
        """PostgreSQL showed *row*."""
        self.note(Seen(row.name, row.token))
        if row.holder is None:
            self.note(Gone(row.name, row.token))

    def leader(self, name: str) -> Belief | None:
        """Return the term of *name* if it is held through this process and trusted now. From memory."""
        return self.book.leader(name, now=self._clock.boottime())

    def trust_seconds(self, belief: Belief) -> float:
        """How long *belief* may still be relied on; never below 0."""
        return max(0.0, belief.trusted_until - self._clock.boottime())

    def trust_in(self, row: Row) -> float:
        """For how long exactly the term in *row* may be relied on; 0: not at all."""
        belief = self.leader(row.name)
        return self.trust_seconds(belief) if belief is not None and belief.token == row.token else 0.0


def _facts(belief: Belief) -> dict[str, object]:
    return {"lease": belief.name, "holder": belief.holder, "token": belief.token}
