"""How long clients say nothing inside of transactions, as the sweeps see it: nothing is paid for it per statement."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from poolguard.core.histogram import TRANSACTION_BOUNDS, Histogram
from poolguard.core.ids import TransactionId
from poolguard.guard.conditions import IDLE
from poolguard.ledger.facts import Transaction

_SAME_MOMENT_SECONDS: Final = 0.001
"""Starts are computed back from ages: closer than this they are the same start."""


class _Gap(NamedTuple):
    pool: str
    since: float
    seconds: float


class IdleGaps:
    """A gap counts when it is over, as long as it was at the last sweep that saw it. Shorter than a sweep: not seen."""

    def __init__(self) -> None:
        self.seconds: dict[str, Histogram] = {}
        """By pool."""
        self._open: dict[TransactionId, _Gap] = {}

    def see(self, transactions: Iterable[Transaction], now: float) -> None:
        """Take in one sweep's facts, which were read at *now* (monotonic)."""
        before, still = self._open, dict[TransactionId, _Gap]()
        for transaction in transactions:
            if transaction.phase in IDLE:
                since = now - transaction.phase_seconds
                gap = before.get(transaction.id)
                if gap is not None and since - gap.since < _SAME_MOMENT_SECONDS:
                    del before[transaction.id]
                still[transaction.id] = _Gap(transaction.pool, since, transaction.phase_seconds)
        for gap in before.values():
            if gap.pool not in self.seconds:
                self.seconds[gap.pool] = Histogram(TRANSACTION_BOUNDS)
            self.seconds[gap.pool].observe(gap.seconds)
        self._open = still
