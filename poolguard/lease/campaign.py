"""One campaign: an application that wants to lead, and what is done for it next. Pure: facts and `now` in, steps out.

`now` is on the monotonic clock; *jitter* is a number from 0 to 1 that the caller drew.

    waiting --granted--> leading --lost--> waiting
    either  --the app does not prove that it lives, withdraws, or poolguard stops--> ended
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from poolguard.lease.terms import TermKey, Wanted

RENEWALS_PER_TERM: Final = 3
"""Renewed when a third of the time to live is over: two more attempts fit before trust ends."""
RETRY_JITTER_SECONDS: Final = 0.25
FIRST_RETRY_SECONDS: Final = 0.25
LAST_RETRY_SECONDS: Final = 2.0


class Phase(StrEnum):
    """Where a campaign stands."""

    WAITING = "waiting"
    LEADING = "leading"
    ENDED = "ended"


class End(StrEnum):
    """Why a campaign ended."""

    WITHDRAWN = "withdrawn"
    """The application said so."""
    UNPROVEN = "unproven"
    """The application did not prove in time that it lives. Its term is not released: it may yet wake up."""
    STOPPING = "stopping"
    """poolguard stops."""


@dataclass(frozen=True, slots=True)
class Try:
    """Ask for a term."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the term."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done before *until*, unless there is news."""

    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The application seems to be dead: end the campaign."""


Step = Try | Renew | Rest | GiveUp


@dataclass(slots=True)
class Campaign:
    """What is known of one. The shell asks `step`, does it, and says what came of it."""

    wish: Wanted
    liveness_seconds: float
    """For so long the application may go without proof that it lives."""
    proven_at: float
    checked: bool = False
    """A check of its process or URL is what proves that it lives, and nothing else."""
    streams: int = 0
    """Open event streams: each is proof while it is open, unless the application is checked."""
    phase: Phase = Phase.WAITING
    end: End | None = None
    term: TermKey | None = None
    renew_at: float = inf
    try_at: float = -inf
    waiting_since: float = field(init=False)
    failures: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self.waiting_since = self.proven_at

    @property
    def proof_ends_at(self) -> float:
        """When the application counts as dead unless it proves before that it lives."""
        return inf if self.streams and not self.checked else self.proven_at + self.liveness_seconds

    def proven(self, *, now: float) -> None:
        """The application lives."""
        self.proven_at = max(self.proven_at, now)

    def step(self, *, now: float) -> Step:
        """Say what is to be done now. Not after the end."""
        assert self.phase is not Phase.ENDED, "an ended campaign takes no step"
        if now >= self.proof_ends_at:
            return GiveUp()
        due = self.renew_at if self.phase is Phase.LEADING else self.try_at
        if now >= due:
            return Renew() if self.phase is Phase.LEADING else Try()
        return Rest(min(due, self.proof_ends_at))

    def granted(self, term: TermKey, *, sent_at: float) -> None:
        """A term has begun, by a request sent at *sent_at*."""
        self.phase, self.term, self.failures = Phase.LEADING, term, 0
        self.renew_at = sent_at + self.wish.ttl_seconds / RENEWALS_PER_TERM

    def renewed(self, *, sent_at: float) -> None:
        """The term runs on."""
        self.failures = 0
        self.renew_at = sent_at + self.wish.ttl_seconds / RENEWALS_PER_TERM

    def refused(self, *, for_seconds: float, now: float, jitter: float) -> None:
        """Another's term runs, or a hold-off does, for so long unless there is news."""
        self.failures = 0
        self.try_at = now + for_seconds + jitter * RETRY_JITTER_SECONDS

    def unanswered(self, *, now: float) -> None:
        """PostgreSQL could not be asked, or did not answer."""
        pause = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self.failures, 4))
        self.failures += 1
        if self.phase is Phase.LEADING:
            self.renew_at = now + min(pause, self.wish.ttl_seconds / 10)
        else:
            self.try_at = now + pause

    def news(self, *, now: float) -> None:
        """The lease looks free."""
        if self.phase is Phase.WAITING and not self.failures:
            self.try_at = now

    def lost(self, *, now: float) -> None:
        """The term is over, or no longer to be relied on."""
        self.phase, self.term, self.failures = Phase.WAITING, None, 0
        self.try_at = self.waiting_since = now

    def ended(self, why: End) -> None:
        """No more is done for it."""
        self.phase, self.end, self.term = Phase.ENDED, why, None
