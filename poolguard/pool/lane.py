"""The books of one lane: who is inside, who waits for a place. Pure."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from poolguard.core.histogram import Histogram

W = TypeVar("W", bound=Hashable)


class Place(StrEnum):
    """Where somebody stands who has come to a lane."""

    INSIDE = "inside"
    WAITING = "waiting"
    NONE = "none"
    """The queue was full."""


class LaneState(Generic[W]):
    """First come, first served; `check` asserts the invariants.

    Nobody waits while there is room, and no more than `at_once` are inside; but after a reload that made it smaller
    those who are inside stay, until they leave.
    """

    def __init__(self, *, at_once: int, max_waiting: int) -> None:
        self.at_once = at_once
        self.max_waiting = max_waiting
        self.inside: set[W] = set()
        self._waiting: OrderedDict[W, float] = OrderedDict()
        """Each with the moment it came."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self, who: W, now: float) -> Place:
        """*who* comes to the lane."""
        assert who not in self.inside, "inside already"
        assert who not in self._waiting, "waiting already"
        if len(self.inside) < self.at_once and not self._waiting:
            self.inside.add(who)
            return Place.INSIDE
        if len(self._waiting) >= self.max_waiting:
            return Place.NONE
        self._waiting[who] = now
        return Place.WAITING

    def leave(self, who: W) -> float | None:
        """*who* goes, from wherever it is; since when it waited, if it did. Safe to repeat. `admit` comes next."""
        self.inside.discard(who)
        return self._waiting.pop(who, None)

    def admit(self) -> tuple[W, float] | None:
        """Let the first in who waits, with the moment it came, if there is room. Ask again until None."""
        if not self._waiting or len(self.inside) >= self.at_once:
            return None
        who, since = self._waiting.popitem(last=False)
        self.inside.add(who)
        return who, since

    def admit_all(self) -> list[W]:
        """Let in all who wait, first come first: there is no bound any more, or it is another thing."""
        admitted = list(self._waiting)
        self._waiting.clear()
        self.inside.update(admitted)
        return admitted

    def expire(self, now: float, timeout: float) -> list[tuple[W, float]]:
        """Send away who has waited for *timeout* seconds, each with how long that was."""
        expired: list[tuple[W, float]] = []
        while self._waiting and (since := next(iter(self._waiting.values()))) + timeout <= now:
            who, _ = self._waiting.popitem(last=False)
            expired.append((who, now - since))
        return expired

    def oldest_since(self) -> float | None:
        """When the first of those who wait came; None if nobody does."""
        return next(iter(self._waiting.values())) if self._waiting else None

    def check(self) -> None:
        """Assert the invariants, as they are while `at_once` stays and after `admit` gave None."""
        assert len(self.inside) <= self.at_once, "more inside than may be"
        assert self.inside.isdisjoint(self._waiting), "inside and waiting"
        assert not self._waiting or len(self.inside) == self.at_once, "somebody waits while there is room"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSnapshot:
    """One lane at one moment. Where it observes, waits and rejections are what would have been."""

    name: str
    mode: str
    at_once: int
    max_waiting: int
    wait_timeout_seconds: float
    in_flight: int
    waiting: int
    oldest_wait_seconds: float
    entered_total: int
    rejections_total: Mapping[str, int]
    """By reason: `queue_full`, `timeout`."""
    wait_seconds: Histogram
    """Every wait, also those in vain."""
