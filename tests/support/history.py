"""What contenders for leases did and were told, as values; `invariants` judges it.

All times are seconds on CLOCK_BOOTTIME of one machine. Every request has two: when it was sent and when its answer came;
what it did to the lease happened somewhere in between.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Now, on the clock that counts suspend."""
    return time.clock_gettime(_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A grant or a renewal was answered with success."""

    name: str
    token: int
    holder: str
    sent_at: float
    answered_at: float
    valid_for: float
    """What the answer said: the holder relies on it for that long, counted from *sent_at*."""
    ttl: float

    @property
    def trusted_until(self) -> float:
        """When the holder stops unless the term is confirmed again."""
        return self.sent_at + self.valid_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Confirmed):
    """A term began, or was found again."""

    request_id: str
    new: bool = True
    """False: the answer was that this request had got it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(Confirmed):
    """A term runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A renewal, or an acquire, was sent and nothing certain came back: it may have taken effect."""

    name: str
    token: int | None
    """None: it was an acquire, and the term that it may have got has a token that nobody knows."""
    sent_at: float
    answered_at: float
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The holder was told that its term is over."""

    name: str
    token: int
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The holder gave its term back: it stopped before it asked."""

    name: str
    token: int
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The holder stopped by itself, or died, at that time; whatever it had been told."""

    name: str
    token: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """An operator ended the term over its holder's head: until the holder learns of it, two may believe."""

    name: str
    token: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Beaten:
    """A contender was told that another term runs. *wal_bytes* is what its attempt added to the WAL."""

    name: str
    sent_at: float
    answered_at: float
    wal_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """/leader answered 200 with that token."""

    name: str
    token: int
    sent_at: float
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """A transaction that was fenced by *token* committed, as number *order* of all that did."""

    name: str
    token: int
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver:
    """Another server writes from now on: every term gets its time again, once."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """The last fault ended: *name* must have a leader *within* seconds."""

    name: str
    at: float
    within: float


Event = Granted | Renewed | Unknown | Lost | Released | Stopped | Forced | Beaten | Shown | Wrote | FailedOver | Healed


@dataclass(slots=True)
class History:
    """Events in the order in which they were noted; several threads may do so."""

    events: list[Event] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Add one event."""
        self.events.append(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self.events))
