"""A histogram that is cheap to feed, and that metrics reads at scrape time."""

from bisect import bisect_right
from typing import Final

WAIT_BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
"""Seconds. Resolves local hand-overs and the famous limits: 5 s (River), 10 s (Prisma), 30 s, 120 s."""

TRANSACTION_BOUNDS: Final = (
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
"""Seconds. For transactions and for idle gaps inside of them."""


_FOLD_AT: Final = 2048


class Histogram:
    """Counts by upper bound. Values are kept as they come and counted together: that is cheaper than one by one."""

    __slots__ = ("_fresh", "_total", "bounds", "counts")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._fresh: list[float] = []

    def observe(self, value: float) -> None:
        """Count *value* (same unit as the bounds)."""
        fresh = self._fresh
        fresh.append(value)
        if len(fresh) >= _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        fresh = self._fresh
        fresh.sort()
        below = 0
        for place, bound in enumerate(self.bounds):
            upto = bisect_right(fresh, bound)
            self.counts[place] += upto - below
            below = upto
        self.counts[-1] += len(fresh) - below
        self._total += sum(fresh)
        fresh.clear()

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts) + len(self._fresh)

    @property
    def total(self) -> float:
        """The sum of all values."""
        self._fold()
        return self._total

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound, how many values were at most that), the last with bound infinity."""
        self._fold()
        seen, rows = 0, []
        for bound, number in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += number
            rows.append((bound, seen))
        return rows
