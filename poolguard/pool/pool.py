"""The shell of one pool: opens and closes servers as the books say, and owns the timers."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar, assert_never

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import PoolguardError, ShuttingDown, UpstreamUnavailable
from poolguard.core.histogram import TRANSACTION_BOUNDS, WAIT_BOUNDS, Histogram
from poolguard.pool.lanes import Lanes
from poolguard.pool.snapshot import CloseReason, PoolSnapshot
from poolguard.pool.state import Close, Effect, Grant, Open, PoolState, Refusal, Refuse
from poolguard.settings.model import Pool as PoolSettings

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between attempts to open a server while that fails; each pause doubles the one before."""

HOPELESS_PAUSE: Final = 30.0
"""Seconds between attempts for nobody while PostgreSQL refuses logins: trying on and on locks accounts."""

LIFETIME_JITTER: Final = 0.2
"""Share of the lifetime that is drawn by lot, so that servers opened together don't all end together."""

RESTED_SECONDS: Final = 1.0
"""How long a server must have been idle to be looked at before it is given out. Busy pools never look."""

FAILOVER_PAUSE: Final = 1.0
"""Seconds between two replacements of all read-only servers: while the new primary isn't found they lead nowhere."""

_HOPELESS: Final = ("28", "3D", "22", "42")
"""SQLSTATE classes that waiting won't heal: login refused, no such database, bad parameter, no such role."""


class PooledServer(Hashable, Protocol):
    """What a pool must know of a server. The pool sets `dies_at`, once."""

    dies_at: float

    @property
    def read_only(self) -> bool:
        """Whether its PostgreSQL takes no writes, whoever asks: a standby, or read-only by its own settings."""
        ...

    @property
    def silent(self) -> bool:
        """Whether nothing has come from PostgreSQL that was not read: neither a word nor the connection's end."""
        ...

    def close(self, reason: CloseReason) -> None:
        """Close the connection. The pool has already forgotten the server."""
        ...


S = TypeVar("S", bound=PooledServer)
S_contra = TypeVar("S_contra", contravariant=True)


class Waiter(Hashable, Protocol[S_contra]):
    """Somebody in the queue. Exactly one of the three is called, once, unless it withdraws."""

    def granted(self, server: S_contra, now: float) -> bool:
        """Take *server*; False refuses it, having given up meanwhile."""
        ...

    def refused(self, reason: Refusal, waited: float) -> None:
        """The wait is over without a server."""
        ...

    def failed(self, error: PoolguardError) -> None:
        """No server can be opened at all."""
        ...


class Pool(Generic[S]):
    """One named pool. Not a coroutine anywhere on the way from `take` to `give_back`."""

    def __init__(
        self,
        name: str,
        settings: PoolSettings,
        *,
        opener: Callable[[], Awaitable[S]],
        clock: Clock,
        tasks: TaskOwner,
    ) -> None:
        self.name: Final = name
        self.settings = settings
        self.state: PoolState[S, Waiter[S]] = PoolState(size=settings.size, max_waiting=settings.max_waiting)
        self.take: Final = self.state.take
        self.lanes: Final = Lanes(name, settings.lanes, clock)
        self.opener = opener
        self._clock = clock
        self._tasks = tasks
        self._stopping = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._retry_at = 0.0
        self._failures = 0
        self._proven = False
        """A server could be opened where the settings say now."""
        self._hopeless_until = float("-inf")
        self._could_write = False
        self._failed_over_at = float("-inf")
        self._stop_error = ShuttingDown("poolguard is stopping; connect again")
        self.last_error: PoolguardError | None = None
        # Counters, read by metrics at scrape time. `sessions` and `pinned` are kept by the relay.
        self.sessions = 0
        self.pinned = 0
        self.checkouts = 0
        self.wait_timeouts = 0
        self.queue_full = 0
        self.opened = 0
        self.open_failures = 0
        self.closed: Counter[CloseReason] = Counter()
        self.wait_seconds = Histogram(WAIT_BOUNDS)
        self.checkout_seconds = Histogram(TRANSACTION_BOUNDS)

    def wait(self, waiter: Waiter[S], now: float) -> None:
        """Give *waiter* a server that has rested, or a place in the queue, after `take` gave nothing.

        It may be answered before this returns.
        """
        if self._stopping:
            waiter.failed(self._stop_error)
            return
        while self.state.resting and (server := self.state.take_rested()) is not None:
            if server.silent:
                if not waiter.granted(server, now):
                    self.give_back(server, now)
                return
            # Its end is there to be read, but not read yet: the client's word came in the same turn of the loop.
            self.discard(server, CloseReason.LOST)
        if effects := self.state.enqueue(waiter, now):
            self._perform(effects)
        if self._deadline_timer is None:
            self._arm()

    def withdraw(self, waiter: Waiter[S]) -> bool:
        """*waiter* has given up; False if it is not in the queue."""
        return self.state.withdraw(waiter)

    def give_back(self, server: S, now: float) -> None:
        """*server* is clean and free."""
        state = self.state
        while now < server.dies_at:
            if not state.queue or (first := state.hand_over(server)) is None:
                if effects := state.give_back(server, now):
                    self._perform(effects)
                return
            waiter, since = first
            if waiter.granted(server, now):
                self.wait_seconds.observe(now - since)
                return
        if server in state.held:
            stale = server.read_only and self._failed_over_at > float("-inf")
            self.discard(server, CloseReason.FAILOVER if stale else CloseReason.LIFETIME)

    def discard(self, server: S, reason: CloseReason) -> None:
        """Close *server*, wherever it is, and open another if somebody waits."""
        effects = self.state.lost(server)
        self.closed[reason] += 1
        server.close(reason)
        self._perform(effects)

    def lost(self, server: S, reason: CloseReason) -> None:
        """*server*'s connection has ended by itself."""
        if server in self.state.servers:
            self.closed[reason] += 1
            self._perform(self.state.lost(server))

    def maintain(self, now: float) -> None:
        """Once a second: end what has rested or lived too long, keep `min_idle` ready.

        One server is opened before anybody asks, so that whether PostgreSQL can be reached is known, and shown.
        """
        settings = self.settings
        rested = self.state.rested(now)
        for server, seconds in rested:
            if now >= server.dies_at:
                # One at a time: closing a whole generation at once makes every client pay for a new login.
                self._perform(self.state.retire(server, CloseReason.LIFETIME))
                break
            if seconds >= settings.idle_timeout > 0 and self.state.idle > settings.min_idle:
                self._perform(self.state.retire(server, CloseReason.IDLE))
        self.state.rest(now, RESTED_SECONDS)
        if now >= self._hopeless_until:
            self._perform(self.state.want_idle(settings.min_idle if self._proven else max(1, settings.min_idle)))

    def resize(self, settings: PoolSettings) -> None:
        """Take new limits at once; surplus servers are closed when they come back."""
        self.settings = settings
        self.state.size, self.state.max_waiting = settings.size, settings.max_waiting
        self._perform((*self.state.retire_surplus(), *self.state.want()))
        self.lanes.apply(settings.lanes)
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        self._arm()

    def renew(self, opener: Callable[[], Awaitable[S]], now: float) -> None:
        """Open servers elsewhere from now on; those that stand are closed as they come back."""
        self.opener = opener
        self._proven = False
        self._hopeless_until = float("-inf")
        for server in self.state.held:
            server.dies_at = now
        for server, _ in self.state.rested(now):
            self._perform(self.state.retire(server, CloseReason.SHRUNK))

    def turned_read_only(self, now: float) -> None:
        """A server with `read_only` refused a write (25006). Where the pool could write before, all such are replaced.

        That is what a failover looks like behind a name that still leads to the old primary, or to a replica.
        """
        if not self._could_write or now - self._failed_over_at < FAILOVER_PAUSE:
            return
        self._failed_over_at = now
        held = [server for server in self.state.held if server.read_only]
        idle = [server for server, _ in self.state.rested(now) if server.read_only]
        log.warning(
            "PostgreSQL has become read-only: its servers are replaced",
            extra={"pool": self.name, "held": len(held), "idle": len(idle)},
        )
        for server in held:
            server.dies_at = now
        for server in idle:
            self._perform(self.state.retire(server, CloseReason.FAILOVER))

    def stop(self, error: ShuttingDown | None = None) -> None:
        """Close everything; whoever waits, or comes yet, is told *error*."""
        self._stopping = True
        self._stop_error = error or self._stop_error
        self.lanes.stop()
        for timer in (self._deadline_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        for waiter in self.state.withdraw_all():
            waiter.failed(self._stop_error)
        for server in self.state.servers:
            self.state.lost(server)
            self.closed[CloseReason.STOPPED] += 1
            server.close(CloseReason.STOPPED)

    def snapshot(self, now: float) -> PoolSnapshot:
        """This moment, for those who show it."""
        state, settings = self.state, self.settings
        return PoolSnapshot(
            name=self.name,
            mode=settings.mode.value,
            policy=settings.policy,
            size=state.size,
            max_waiting=state.max_waiting,
            idle=state.idle,
            held=len(state.held),
            opening=state.opening,
            waiting=state.waiting,
            oldest_wait_seconds=max(0.0, now - (state.oldest_since() or now)),
            sessions=self.sessions,
            pinned=self.pinned,
            checkouts_total=self.checkouts,
            wait_timeouts_total=self.wait_timeouts,
            queue_full_total=self.queue_full,
            opened_total=self.opened,
            open_failures_total=self.open_failures,
            closed_total={reason: self.closed[reason] for reason in CloseReason},
            wait_seconds=self.wait_seconds,
            checkout_seconds=self.checkout_seconds,
            retry_in_seconds=max(0.0, self._retry_at - now) if self._failures else 0.0,
            last_error=str(self.last_error) if self.last_error else "",
            lanes=self.lanes.snapshots(now),
        )

    def _perform(self, effects: tuple[Effect[S, Waiter[S]], ...]) -> None:
        for effect in effects:
            match effect:
                case Grant(waiter, server, since):
                    now = self._clock.monotonic()
                    self.wait_seconds.observe(now - since)
                    if not waiter.granted(server, now):
                        self.give_back(server, now)
                case Open():
                    self._start_opening()
                case Close(server, reason):
                    self.closed[reason] += 1
                    server.close(reason)
                case Refuse(waiter, reason, waited):
                    self._refuse(waiter, reason, waited)
                case _:
                    assert_never(effect)

    def _refuse(self, waiter: Waiter[S], reason: Refusal, waited: float) -> None:
        if reason is Refusal.TIMEOUT:
            self.wait_timeouts += 1
            self.wait_seconds.observe(waited)
        else:
            self.queue_full += 1
        waiter.refused(reason, waited)

    def _start_opening(self) -> None:
        if self._stopping or self._retry_timer is not None:
            self.state.open_failed()  # not now: the retry asks the books again
        else:
            self._tasks.spawn(self._open(), name=f"open a server of pool {self.name}")

    async def _open(self) -> None:
        opener = self.opener
        try:
            server = await opener()
        except PoolguardError as error:
            self.state.open_failed()
            self._open_failed(error)
            return
        except Exception as error:
            # Our own bug, and reported as one; but who waits is not forgotten for it.
            self.state.open_failed()
            self._open_failed(UpstreamUnavailable(f"opening a server failed: {type(error).__name__}"))
            raise
        except BaseException:
            self.state.open_failed()
            raise
        now = self._clock.monotonic()
        lifetime = self.settings.max_lifetime or float("inf")
        server.dies_at = now + lifetime * (1 - LIFETIME_JITTER * random.random())  # noqa: S311 - no secret
        if self._stopping or opener is not self.opener:
            self.state.open_failed()
            server.close(CloseReason.STOPPED)
            self._perform(self.state.want())
            return
        if self._failures:
            log.info("PostgreSQL answers again", extra={"pool": self.name, "failures": self._failures})
        self._failures, self.last_error = 0, None
        self._proven = True
        self._could_write = self._could_write or not server.read_only
        self.opened += 1
        self._perform(self.state.opened(server, now=now))

    def _open_failed(self, error: PoolguardError) -> None:
        self.open_failures += 1
        self.last_error = error
        if error.sqlstate[:2] in _HOPELESS:
            self._hopeless_until = self._clock.monotonic() + HOPELESS_PAUSE
            for waiter in self.state.withdraw_all():
                waiter.failed(error)
        if self._retry_timer is not None or self._stopping:
            return  # one of several that were being opened at once: one failure, one pause
        self._failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 16))
        if self._failures == 1 or pause == LONGEST_PAUSE:
            log.warning(
                "no server could be opened",
                extra={
                    "pool": self.name,
                    "sqlstate": error.sqlstate,
                    "reason": str(error),
                    "retry_seconds": pause,
                },
            )
        self._retry_at = self._clock.monotonic() + pause
        self._retry_timer = asyncio.get_running_loop().call_later(pause, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self._perform(self.state.want())

    def _arm(self) -> None:
        """One timer a pool, for the head of the queue: a timer for each wait would cost more than the wait."""
        since = self.state.oldest_since()
        if self._deadline_timer is None and since is not None and not self._stopping:
            delay = max(0.0, since + self.settings.wait_timeout - self._clock.monotonic())
            self._deadline_timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._deadline_timer = None
        self._perform(self.state.expire(self._clock.monotonic(), self.settings.wait_timeout))
        self._arm()
