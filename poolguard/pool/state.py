"""The books of one pool: who is idle, held, opening, waiting. Pure; every change returns what must be done now."""

from collections import OrderedDict
from collections.abc import Hashable
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from poolguard.pool.snapshot import CloseReason

S = TypeVar("S", bound=Hashable)
W = TypeVar("W", bound=Hashable)

MAX_OPENING: Final = 8
"""How many servers of one pool may be opening at once: a cold pool warms quickly, PostgreSQL is not stormed."""


class Grant(Generic[S, W]):
    """Hand *server* to *waiter*, which came at *since* (monotonic); if the waiter refuses, give the server back.

    Of a server that was just opened; one that is given back is handed over without (see `PoolState.hand_over`).
    """

    __slots__ = ("server", "since", "waiter")
    __match_args__ = ("waiter", "server", "since")

    def __init__(self, waiter: W, server: S, since: float) -> None:
        self.waiter = waiter
        self.server = server
        self.since = since


class Open(NamedTuple):
    """Start opening one server; answer with opened() or open_failed()."""


class Close(NamedTuple, Generic[S]):
    """Close *server*, which has already left the books."""

    server: S
    reason: CloseReason


class Refusal(StrEnum):
    """Why a waiter is sent away."""

    QUEUE_FULL = "queue_full"
    TIMEOUT = "timeout"


class Refuse(NamedTuple, Generic[W]):
    """Send *waiter* away."""

    waiter: W
    reason: Refusal
    waited: float


Effect = Grant[S, W] | Open | Close[S] | Refuse[W]
NOTHING: Final = ()


class PoolState(Generic[S, W]):
    """See the package's docstring for the invariants; `check` asserts them."""

    def __init__(self, *, size: int, max_waiting: int) -> None:
        self.size = size
        self.max_waiting = max_waiting
        self.opening = 0
        self._open: set[S] = set()
        """Every server. Those that are neither idle nor at rest are held: nothing is written down for a checkout."""
        self._idle: dict[S, float] = {}
        """Since when; newest last, and first out: the most recently used server has the warmest caches."""
        self.resting: Final[dict[S, float]] = {}
        """Those that are idle for so long that they are looked at before they are given out; oldest first."""
        self.queue: Final[OrderedDict[W, float]] = OrderedDict()
        """Who waits, each with the moment it came, first come first. Others may look whether it is empty."""

    @property
    def idle(self) -> int:
        """How many servers nobody holds."""
        return len(self._idle) + len(self.resting)

    @property
    def held(self) -> set[S]:
        """The servers that are checked out."""
        return self._open - self._idle.keys() - self.resting.keys()

    @property
    def servers(self) -> set[S]:
        """Every server that is open, held or not."""
        return set(self._open)

    @property
    def waiting(self) -> int:
        """Waiters in the queue."""
        return len(self.queue)

    @property
    def total(self) -> int:
        """Servers in whatever place."""
        return len(self._open) + self.opening

    def take(self) -> S | None:
        """Check a server out at once, or None: then `take_rested`, and at last `enqueue`."""
        if self._idle:
            return self._idle.popitem()[0]
        return None

    def take_rested(self) -> S | None:
        """Check out a server that has rested, or None. Its connection may have ended meanwhile."""
        if self.resting:
            return self.resting.popitem()[0]
        return None

    def rest(self, now: float, seconds: float) -> None:
        """Who has been idle for *seconds* has rested: `take` gives it out no more."""
        for server in [server for server, since in self._idle.items() if now - since >= seconds]:
            self.resting[server] = self._idle.pop(server)

    def enqueue(self, waiter: W, now: float) -> tuple[Effect[S, W], ...]:
        """Queue *waiter*, after `take` gave nothing."""
        assert not self._idle, "a waiter queues while a server is idle"
        assert not self.resting, "a waiter queues while a server is at rest"
        assert waiter not in self.queue, "a waiter has one place"
        # Those for whom a server can still be opened wait for PostgreSQL, not for somebody else.
        if len(self.queue) >= self.max_waiting + max(0, self.size - len(self._open)):
            return (Refuse(waiter, Refusal.QUEUE_FULL, 0.0),)
        self.queue[waiter] = now
        return self.want() if self.total < self.size else NOTHING

    def want(self) -> tuple[Effect[S, W], ...]:
        """Open as many servers as the queue wants and the limits allow."""
        room = min(self.size - self.total, MAX_OPENING - self.opening, len(self.queue) - self.opening)
        if room <= 0:
            return NOTHING
        self.opening += room
        return (Open(),) * room

    def want_idle(self, min_idle: int) -> tuple[Effect[S, W], ...]:
        """Open servers ahead of need until *min_idle* are at rest or on their way."""
        lacking = min_idle - self.idle - self.opening
        room = min(self.size - self.total, MAX_OPENING - self.opening, lacking)
        if room <= 0:
            return NOTHING
        self.opening += room
        return (Open(),) * room

    def hand_over(self, server: S) -> tuple[W, float] | None:
        """The first waiter and when it came: *server*, which stays held, is for it. None: `give_back` says what else.

        Not an effect, because under load this is done for every transaction. Who refuses it is out of the queue.
        """
        servers = self._open
        if not self.queue or server not in servers or len(servers) - len(self.resting) + self.opening > self.size:
            return None
        return self.queue.popitem(last=False)

    def give_back(self, server: S, now: float) -> tuple[Effect[S, W], ...]:
        """A held server is clean and free: to the first waiter, or to rest."""
        servers = self._open
        if server not in servers or server in self.resting:
            return NOTHING  # it was lost meanwhile, or nobody holds it
        # Whoever has rested need not be counted: after a shrink those are the first to be closed.
        if len(servers) - len(self.resting) + self.opening > self.size:
            servers.remove(server)
            return (Close(server, CloseReason.SHRUNK),)
        if self.queue and (first := self.hand_over(server)) is not None:
            return (Grant(first[0], server, first[1]),)
        self._idle[server] = now
        return NOTHING

    def opened(self, server: S, *, now: float) -> tuple[Effect[S, W], ...]:
        """An Open has brought *server*; its place among those that open goes to whoever still waits."""
        assert self.opening > 0, "opened without Open"
        self.opening -= 1
        self._open.add(server)
        return (*self.give_back(server, now), *self.want())

    def open_failed(self) -> None:
        """An Open has failed. Whoever waits goes on waiting; call `want` when it may be tried again."""
        assert self.opening > 0, "open_failed without Open"
        self.opening -= 1

    def lost(self, server: S) -> tuple[Effect[S, W], ...]:
        """*server* is gone, wherever it was; safe to repeat."""
        self._open.discard(server)
        self._idle.pop(server, None)
        self.resting.pop(server, None)
        return self.want()

    def withdraw(self, waiter: W) -> bool:
        """*waiter* gives up its place; False if it has none any more."""
        return self.queue.pop(waiter, None) is not None

    def withdraw_all(self) -> list[W]:
        """Empty the queue, first come first."""
        waiters = list(self.queue)
        self.queue.clear()
        return waiters

    def expire(self, now: float, timeout: float) -> tuple[Effect[S, W], ...]:
        """Send away who has waited for *timeout* seconds."""
        refused: list[Effect[S, W]] = []
        while self.queue and (since := next(iter(self.queue.values()))) + timeout <= now:
            waiter, _ = self.queue.popitem(last=False)
            refused.append(Refuse(waiter, Refusal.TIMEOUT, now - since))
        return tuple(refused)

    def oldest_since(self) -> float | None:
        """When the head of the queue came; None without a queue."""
        return next(iter(self.queue.values())) if self.queue else None

    def rested(self, now: float) -> list[tuple[S, float]]:
        """Idle servers, the longest at rest first, each with its seconds of rest."""
        return [(server, now - since) for server, since in (*self.resting.items(), *self._idle.items())]

    def retire(self, server: S, reason: CloseReason) -> tuple[Effect[S, W], ...]:
        """Close *server* if it is idle; a held one is left alone."""
        place = self.resting if server in self.resting else self._idle
        if server not in place:
            return NOTHING
        del place[server]
        self._open.remove(server)
        return (Close(server, reason), *self.want())

    def retire_surplus(self) -> tuple[Effect[S, W], ...]:
        """After the size shrank: close idle servers beyond it."""
        effects: list[Effect[S, W]] = []
        while self.total > self.size and self.idle:
            effects += self.retire(next(iter(self.resting or self._idle)), CloseReason.SHRUNK)
        return tuple(effects)

    def check(self) -> None:
        """Assert the invariants."""
        idle = {*self._idle, *self.resting}
        assert len(idle) == self.idle, "a server is idle twice"
        assert idle <= self._open, "a server is idle that has been closed"
        assert self.opening >= 0, "fewer than no servers are opening"
        assert not (self.queue and idle), "somebody waits while a server is idle"
