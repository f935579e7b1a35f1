"""The arithmetic of the bench. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of one workload through one contender."""

    transactions: int
    tps: float
    p50_ms: float | None
    """None, like p99_ms, where the client measures none that would be true."""
    p99_ms: float | None
    cpu_seconds: float | None
    """Of the pooler's process, user and system, while the workload ran; None where there is no pooler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The median of each figure over the rounds; *tps_rounds* tells how far they were apart."""

    tps: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us_per_transaction: float | None
    tps_rounds: tuple[float, ...]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least *share* (0 to 1) of *values* do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values: a percentile of nothing")
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is not within 0..1")
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def combine(samples: Sequence[Sample]) -> Result:
    """Take the median of each figure by itself: one disturbed round spoils none of them."""
    if not samples:
        raise ValueError("no samples: a workload that never ran has no result")
    costs = [s.cpu_seconds * 1e6 / s.transactions for s in samples if s.cpu_seconds is not None and s.transactions]
    return Result(
        tps=median(s.tps for s in samples),
        p50_ms=_median_of_known([s.p50_ms for s in samples]),
        p99_ms=_median_of_known([s.p99_ms for s in samples]),
        cpu_us_per_transaction=_median_of_known(costs),
        tps_rounds=tuple(s.tps for s in samples),
    )


def _median_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Divide, or None where either side is missing or there is nothing to divide by."""
    return ours / theirs if ours is not None and theirs else None
