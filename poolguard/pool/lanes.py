"""The lanes of one pool: which statement belongs to which, and whose turn it is. Owns their timers.

A lane is entered by who holds no server and no transaction, and so no lock in PostgreSQL: it is the outermost lock of
all, and can't be part of a circle. Where a lane only observes, its books are kept as if it counted, and nobody is told.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from poolguard.core.by_text import ByText
from poolguard.core.clock import Clock
from poolguard.core.histogram import WAIT_BOUNDS, Histogram
from poolguard.pool.lane import LaneSnapshot, LaneState, Place
from poolguard.pool.state import Refusal
from poolguard.settings.expressions import search_for
from poolguard.settings.lanes import Lane as LaneSettings
from poolguard.settings.policies import PolicyMode
from poolguard.wire.fingerprint import fingerprint

log = logging.getLogger(__name__)

TOLD_AGAIN_SECONDS: Final = 10.0
"""How long after a log line of a lane's refusals the next comes."""


class Guest(Protocol):
    """Whoever comes to a lane. If it has to wait, one of the two is called, once, unless its ticket is given up."""

    def admitted(self) -> None:
        """Its turn has come."""
        ...

    def kept_out(self, lane: "Lane", reason: Refusal, waited: float) -> None:
        """The wait was in vain."""
        ...


class _Unaware:
    """Stands in the books of a lane that only observes."""

    def admitted(self) -> None:
        """It never waited."""

    def kept_out(self, lane: "Lane", reason: Refusal, waited: float) -> None:
        """It went in all the same."""


UNAWARE: Final = _Unaware()


class Ticket:
    """One place in a lane, waiting or inside. It outlives its session while what that left runs in PostgreSQL."""

    __slots__ = ("guest", "lane", "waits")

    def __init__(self, lane: "Lane", guest: Guest) -> None:
        self.lane: Final = lane
        self.guest = guest
        self.waits = False
        """Its guest is to wait until it is admitted."""

    def leave(self) -> None:
        """Give the place to the next. Safe to repeat."""
        self.lane.leave(self)


class Lane:
    """One of them."""

    def __init__(self, pool: str, settings: LaneSettings, now: Callable[[], float]) -> None:
        self.pool: Final = pool
        self.name: Final = settings.name
        self.settings = settings
        self.state: LaneState[Ticket] = LaneState(at_once=settings.at_once, max_waiting=settings.max_waiting)
        self.entered = 0
        self.rejections: Counter[Refusal] = Counter()
        self.wait_seconds = Histogram(WAIT_BOUNDS)
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._admitting = False
        self._told_at = float("-inf")
        self._untold = 0

    @property
    def enforces(self) -> bool:
        """Whether anybody has to wait."""
        return self.settings.mode is PolicyMode.ENFORCE

    def enter(self, guest: Guest, now: float) -> Ticket | None:
        """A place for *guest*, which may have to wait first; None: it may not even wait."""
        ticket = Ticket(self, guest if self.enforces else UNAWARE)
        place = self.state.enter(ticket, now)
        if place is Place.NONE:
            self._count(Refusal.QUEUE_FULL, now)
            return None if self.enforces else ticket
        if place is Place.WAITING:
            ticket.waits = self.enforces
            self._arm()
        else:
            self.entered += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """See Ticket."""
        since = self.state.leave(ticket)
        if since is not None and not self.enforces:
            self.wait_seconds.observe(self._now() - since)  # it would have waited longer than it took
        self._admit()

    def apply(self, settings: LaneSettings | None) -> None:
        """Take new settings live. None: the lane is gone. Who waits goes in if its mode is another now."""
        mode, self.settings = self.settings.mode, settings or self.settings
        self.state.at_once, self.state.max_waiting = self.settings.at_once, self.settings.max_waiting
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if settings is None or settings.mode is not mode:
            for ticket in self.state.admit_all():
                ticket.guest.admitted()
        self._admit()
        self._arm()

    def stop(self) -> None:
        """Nobody is told any more that it has waited too long."""
        if self._timer is not None:
            self._timer.cancel()

    def snapshot(self, now: float) -> LaneSnapshot:
        """This moment."""
        return LaneSnapshot(
            name=self.name,
            mode=self.settings.mode.value,
            at_once=self.state.at_once,
            max_waiting=self.state.max_waiting,
            wait_timeout_seconds=self.settings.wait,
            in_flight=len(self.state.inside),
            waiting=self.state.waiting,
            oldest_wait_seconds=max(0.0, now - (self.state.oldest_since() or now)),
            entered_total=self.entered,
            rejections_total={reason.value: self.rejections[reason] for reason in Refusal},
            wait_seconds=self.wait_seconds,
        )

    def _admit(self) -> None:
        if self._admitting:
            return  # who was just let in left at once: the loop below goes on, and the stack does not grow
        self._admitting = True
        try:
            while (admitted := self.state.admit()) is not None:
                ticket, since = admitted
                self.entered += 1
                self.wait_seconds.observe(self._now() - since)
                ticket.guest.admitted()
        finally:
            self._admitting = False

    def _arm(self) -> None:
        """One timer a lane, for the first who waits."""
        since = self.state.oldest_since()
        if self._timer is None and since is not None:
            delay = max(0.0, since + self.settings.wait - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self.expire)

    def expire(self) -> None:
        """Send away who has waited too long; the timer calls this."""
        self._timer = None
        now = self._now()
        for ticket, waited in self.state.expire(now, self.settings.wait):
            self.wait_seconds.observe(waited)
            self._count(Refusal.TIMEOUT, now)
            ticket.guest.kept_out(self, Refusal.TIMEOUT, waited)
        self._arm()

    def _count(self, reason: Refusal, now: float) -> None:
        self.rejections[reason] += 1
        self._untold += 1
        if now - self._told_at < TOLD_AGAIN_SECONDS:
            return
        log.warning(
            "a lane turned transactions away" if self.enforces else "a lane would have turned transactions away",
            extra={
                "pool": self.pool,
                "lane": self.name,
                "reason": reason.value,
                "rejections": self._untold,
                "in_flight": len(self.state.inside),
                "waiting": self.state.waiting,
            },
        )
        self._told_at, self._untold = now, 0


class Lanes:
    """Those of one pool; false if there are none."""

    def __init__(self, pool: str, settings: tuple[LaneSettings, ...], clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._patterns: list[tuple[Lane, frozenset[str], Callable[[str], bool] | None]] = []
        self.of: Final[ByText[Lane | None]] = ByText(self._judge)
        """The lane of a transaction that begins with a text: the first that matches; None for most. A text that is
        new is read as for its fingerprint: up to 3 ms for one of 8 KiB, 0.1 ms for most."""
        self.apply(settings)

    def __len__(self) -> int:
        return len(self._lanes)

    def apply(self, settings: tuple[LaneSettings, ...]) -> None:
        """After a reload: lanes keep who is in them, by their names; from one that is gone all go on."""
        before, self._lanes = self._lanes, {}
        for one in settings:
            self._lanes[one.name] = before.get(one.name) or Lane(self._pool, one, self._clock.monotonic)
        self._patterns = [
            (
                self._lanes[one.name],
                frozenset(one.match.fingerprint),
                None if one.match.statement is None else search_for(one.match.statement),
            )
            for one in settings
        ]
        self.of.forget()
        for name, lane in before.items():
            if name not in self._lanes:
                lane.apply(None)
        for one in settings:
            if one.name in before:
                self._lanes[one.name].apply(one)

    def _judge(self, text: bytes) -> Lane | None:
        normalised = fingerprint(text)
        for lane, ids, found_in in self._patterns:
            if (not ids or normalised.id in ids) and (found_in is None or found_in(normalised.text)):
                return lane
        return None

    def snapshots(self, now: float) -> tuple[LaneSnapshot, ...]:
        """Every lane at this moment, in the order of the settings."""
        return tuple(lane.snapshot(now) for lane in self._lanes.values())

    def stop(self) -> None:
        """The pool ends."""
        for lane in self._lanes.values():
            lane.stop()
