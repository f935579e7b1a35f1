"""What the lease part counts, for metrics to read at scrape time."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from poolguard.core.histogram import WAIT_BOUNDS, Histogram
from poolguard.lease.campaign import End, Phase

MAX_COUNTED_NAMES: Final = 10_000


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
        self.renewals_without_verdict: Final[Counter[str]] = Counter()
        """By lease: unknown, unavailable or busy."""
        self.acquire_wait_seconds: Final = Histogram(WAIT_BOUNDS)
        """From the beginning of a campaign, or the loss of its last term, to its next term."""
        self.campaigns: Final[dict[str, int]] = {phase.value: 0 for phase in Phase if phase is not Phase.ENDED}
        self.campaigns_ended: Final[dict[str, int]] = {end.value: 0 for end in End}
        self.store_up: Callable[[], bool] = bool
        """Whether PostgreSQL answers; the manager sets it."""
        self.timeline: Callable[[], int] = int
        """In the high bits of tokens; the manager sets it."""
        self.acquired = 0
        self.renewed = 0
        self.released = 0
        self.conflicts = 0
        """Acquires that were refused because another holder's term runs."""
        self.renew_seconds: Final = Histogram(WAIT_BOUNDS)
        """What a renewal took, from the request to the answer; failed ones too."""
        self.renew_failures: Final = dict.fromkeys(RenewFailure, 0)
        self.lost: Final = dict.fromkeys(LostReason, 0)

    def no_verdict(self, name: str) -> None:
        """Count one renewal without a verdict; of so many names only."""
        if name in self.renewals_without_verdict or len(self.renewals_without_verdict) < MAX_COUNTED_NAMES:
            self.renewals_without_verdict[name] += 1

    def held(self) -> Sequence[LeaseView]:
        """Names held or once held here: bounded, the latest change last."""
        return self._held()
