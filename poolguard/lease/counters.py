"""What the lease part counts, for metrics to read at scrape time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from poolguard.core.histogram import WAIT_BOUNDS, Histogram


class LostReason(StrEnum):
    """Why trust in a term ended although its holder had not released it. The same in log, metric and test."""

    REFUSED = "refused"
    """PostgreSQL said at a renewal that the term is over, or its row is gone."""
    SUPERSEDED = "superseded"
    """A newer term of the same name was seen."""
    LAPSED = "lapsed"
    """No renewal succeeded in time: the holder went away, or PostgreSQL did."""
    FORCED = "forced"
    """An operator released it."""
    RELEASED = "released"
    """It was released over another poolguard: by an operator, or by its holder."""
    UNPROVEN = "unproven"
    """The application that campaigns for it did not prove that it lives."""


class RenewFailure(StrEnum):
    """Why a renewal did not succeed."""

    LOST = "lost"
    UNKNOWN = "unknown"
    """Sent, and no answer came."""
    UNAVAILABLE = "unavailable"
    """PostgreSQL could not be asked, or the row was locked by somebody for too long."""
    BUSY = "busy"
    """Too many lease requests at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """One name that this process holds or has held."""

    name: str
    held: bool
    """Whether its term is trusted now."""
    token: int
    """Of the latest term held here."""
    transitions: int
    """How many terms the name had, anywhere, when that one was confirmed last."""
    valid_for_seconds: float
    """How long the term is still trusted; 0 when it is not."""
    last_renew_age_seconds: float
    """Since the latest confirmation (grant or renewal) was sent."""


class LeaseCounters:
    """All totals only grow; every reason is present from the start."""

    def __init__(self, held: Callable[[], Sequence[LeaseView]]) -> None:
        self._held = held
        self.acquired = 0
        self.renewed = 0
        self.released = 0
        self.conflicts = 0
        """Acquires that were refused because another holder's term runs."""
        self.renew_seconds: Final = Histogram(WAIT_BOUNDS)
        """What a renewal took, from the request to the answer; failed ones too."""
        self.renew_failures: Final = dict.fromkeys(RenewFailure, 0)
        self.lost: Final = dict.fromkeys(LostReason, 0)

    def held(self) -> Sequence[LeaseView]:
        """Names held or once held here: bounded, the latest change last."""
        return self._held()
