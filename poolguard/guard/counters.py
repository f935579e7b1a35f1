"""What the guard counts: plain numbers that metrics reads at scrape time. All only grow, but `exhausted_now`."""

from collections import Counter
from enum import StrEnum
from typing import Final

from poolguard.core.histogram import Histogram
from poolguard.guard.gaps import IdleGaps

SWEEP_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds. A sweep over 40 holders should take less than 0.001."""

BY_HAND: Final = "by_hand"
"""Stands where a rule's name would, for what operators do."""


class Resolution(StrEnum):
    """How a transaction that looked like a leak came to its end."""

    ENDED = "ended"
    """The guard or an operator ended it."""
    RETURNED = "returned"
    """Its client went on: it was slow, and no leak."""
    DISCONNECTED = "disconnected"
    """Its client went away."""


class GuardCounters:
    """Keys are names from settings and enums' values: they can be labels."""

    def __init__(self) -> None:
        self.sweeps = 0
        self.sweep_seconds = Histogram(SWEEP_BOUNDS)
        self.sweep_failures = 0
        """Sweeps that raised: each is a bug, and is in the log."""
        self.late_sweeps = 0
        """Sweeps that judged nothing because the process had stood still."""
        self.matches: Counter[tuple[str, str]] = Counter()
        """By rule and mode: steps that were due and not taken yet."""
        self.actions: Counter[tuple[str, str, str, str]] = Counter()
        """By pool, rule (or by_hand), action and outcome."""
        self.budget_exhausted: Counter[str] = Counter()
        """By policy: actions left undone for want of budget, each once."""
        self.spared: Counter[tuple[str, str]] = Counter()
        """By policy and reason: transactions that are exempt, and steps left undone because such work is not ended."""
        self.leaks: Counter[tuple[str, str]] = Counter()
        """By pool and resolution: transactions that had passed the first step of idle_in_transaction."""
        self.idle_gaps: Final = IdleGaps()
        self.exhausted_now: set[str] = set()
        """Policies whose budget withheld something in the latest sweep."""


class CourierCounters:
    """What became of incidents that somebody outside wants to be told."""

    def __init__(self) -> None:
        self.sent = 0
        self.repeats = 0
        """Not sent because one like it was, a moment ago."""
        self.failed = 0
        """Given up."""
        self.missed = 0
        """Lost because the queue was full."""
