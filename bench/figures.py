"""The arithmetic of the bench. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


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

    @property
    def cpu_us_per_transaction(self) -> float | None:
        """Microseconds; None where there is no pooler."""
        return None if self.cpu_seconds is None or not self.transactions else self.cpu_seconds * 1e6 / self.transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The median of each figure over the rounds, and the rounds themselves."""

    tps: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us_per_transaction: float | None
    rounds: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One contender's figure divided by another's, round by round."""

    median: float
    lower: float
    """A quarter of the rounds gave less."""
    upper: float
    """A quarter of the rounds gave more."""


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
    return Result(
        tps=median(s.tps for s in samples),
        p50_ms=_median_of_known([s.p50_ms for s in samples]),
        p99_ms=_median_of_known([s.p99_ms for s in samples]),
        cpu_us_per_transaction=_median_of_known([s.cpu_us_per_transaction for s in samples]),
        rounds=tuple(samples),
    )


def _median_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Ratio | None:
    """Divide each round's figure by the other's in the same round; None where no round has both.

    Minutes later the same machine may be a fifth slower: what two did one after the other compares best.
    """
    found = [a / b for a, b in zip(ours, theirs, strict=True) if a is not None and b]
    if not found:
        return None
    lower, middle, upper = quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return Ratio(median=middle, lower=lower, upper=upper)
