"""When to look, and how often: what the lock graph may cost. Pure."""

from dataclasses import dataclass
from typing import Final

LONG_STATEMENT_SECONDS: Final = 1.0
"""A statement of ours that runs this long, while somebody waits for a lock, is reason enough to look at once."""
EXPENSIVE_SECONDS: Final = 0.05
"""A collection that took longer than this is followed by a longer pause."""
PAUSE_FACTOR: Final = 40
"""That pause, in lengths of the collection: at most 2.5 % of one of PostgreSQL's cores."""


@dataclass(slots=True)
class Pace:
    """Collections at least *interval* seconds apart, further apart when they are expensive."""

    interval: float
    waited_before: bool = False
    """Somebody waited at the last poll, too."""
    not_before: float = 0.0
    """Monotonic."""

    def should_collect(self, now: float, *, waiters: int, longest_statement: float) -> bool:
        """Judge one poll: somebody waits, and has waited at the poll before, or a statement of ours runs long."""
        again = self.waited_before
        self.waited_before = waiters > 0
        return waiters > 0 and now >= self.not_before and (again or longest_statement > LONG_STATEMENT_SECONDS)

    def collected(self, now: float, seconds: float) -> None:
        """Note what a collection, which has just ended, took."""
        pause = self.interval if seconds <= EXPENSIVE_SECONDS else max(self.interval, PAUSE_FACTOR * seconds)
        self.not_before = now + pause
