"""A term as its holder has it: until when it may act, and when it must ask again. Pure but for the clock it names."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

RENEWALS_PER_TERM: Final = 3
_MOST_ATTEMPT_SECONDS: Final = 2.0
_LEAST_ATTEMPT_SECONDS: Final = 0.2
_MOST_PAUSE_SECONDS: Final = 1.0
_LEAST_PAUSE_SECONDS: Final = 0.05


def boottime() -> float:
    """Seconds on the clock that goes on during suspend, where there is one. Trust is judged on it."""
    return time.clock_gettime(_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One unbroken holding of a lease."""

    name: str
    holder: str
    token: int
    """Above that of every earlier term: send it along to what you change, and let that refuse a lower one."""
    ttl_seconds: float
    trusted_until: float
    """On `boottime()`. Counted from when the request was *sent*, so that a slow answer is no longer trust."""
    step_down: bool = False
    """Somebody asks the holder to give the lease back."""
    metadata: Mapping[str, object] | None = None

    def remaining_seconds(self, now: float | None = None) -> float:
        """For how long it may still be relied on; 0 or less: no more."""
        return self.trusted_until - (boottime() if now is None else now)

    @property
    def trusted(self) -> bool:
        """Whether its holder may act now."""
        return self.remaining_seconds() > 0


def renew_after(ttl_seconds: float) -> float:
    """How long after a confirmation the next one is due: two may fail before trust runs out."""
    return ttl_seconds / RENEWALS_PER_TERM


def retry_after(remaining_seconds: float) -> float:
    """How long to wait after a renewal that brought no answer: sooner as the end comes nearer."""
    return min(_MOST_PAUSE_SECONDS, max(_LEAST_PAUSE_SECONDS, remaining_seconds / 4))


def attempt_seconds(remaining_seconds: float) -> float:
    """What one renewal may take: a hanging one must leave time for another."""
    return min(_MOST_ATTEMPT_SECONDS, max(_LEAST_ATTEMPT_SECONDS, remaining_seconds / 2))


def ask_again_after(valid_for_seconds: float, chance: float) -> float:
    """How long a contender waits. *chance* (0 to 1) spreads contenders, so that not all ask in the same moment."""
    return min(_MOST_PAUSE_SECONDS, max(_LEAST_PAUSE_SECONDS, valid_for_seconds)) * (0.75 + chance / 4)
