"""Errors with a culprit. Pure."""

from collections.abc import Iterator, Sequence

from poolguard.guard.errors import ErrorBook
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading


def error_readings(errors: ErrorBook, pools: Sequence[str]) -> Iterator[Reading]:
    """Deadlocks and duplicate keys; each pool has its deadlocks from the start, so that `increase()` sees the first."""
    for pool in {**dict.fromkeys(pools), **errors.deadlocks}:
        yield Reading(c.DEADLOCKS, (pool,), errors.deadlocks[pool])
    for pair, number in errors.pairs.items():
        yield Reading(c.DEADLOCK_PAIRS, pair, number)
    for labels, number in errors.duplicates.items():
        yield Reading(c.DUPLICATE_KEYS, labels, number)
