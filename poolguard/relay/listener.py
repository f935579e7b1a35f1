"""The listening server of a pool: one connection beside the pool's own that hears for all of its clients.

Opened when the first client listens, closed when none has for the pool's `idle_timeout`. When it is lost it is
opened again, with growing pauses, and listens to the same channels. What was notified in between nobody can tell:
each client that listens gets a WARNING then, and can look for itself what it missed.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from functools import partial
from itertools import islice
from time import monotonic
from typing import Final, Protocol

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import PoolguardError
from poolguard.pool.pool import FIRST_PAUSE, LONGEST_PAUSE
from poolguard.relay.counters import RelayCounters
from poolguard.relay.listening_server import ListeningServer, quoted
from poolguard.relay.notifications import Subscriptions
from poolguard.settings.model import Pool as PoolSettings
from poolguard.upstream.link import Link
from poolguard.wire import messages

log = logging.getLogger(__name__)

TOLD_AT_ONCE: Final = 200
"""How many sessions are told of something before the loop's other work has its turn."""

MISSED: Final = messages.notice_response(
    "01000",
    "notifications may have been missed",
    hint="poolguard's listening connection to PostgreSQL was lost; it listens again since just now.",
)


class Hearer(Hashable, Protocol):
    """Who is told."""

    def tell(self, pid: int, message: bytes) -> bool:
        """A NotificationResponse of the backend *pid*; False if there is no room for it."""
        ...

    def warn(self, notice: bytes) -> None:
        """A NoticeResponse."""
        ...

    def changed(self) -> None:
        """What it hears may be something else now."""
        ...


class Wait:
    """Somebody who needs channels to be heard before it goes on."""

    __slots__ = ("channels", "then")

    def __init__(self, channels: tuple[bytes, ...], then: Callable[[bool], None]) -> None:
        self.channels = channels
        self.then = then


class Listener:
    """One pool's subscriptions, and the server that hears for them."""

    def __init__(
        self,
        pool: str,
        settings: Callable[[], PoolSettings],
        opener: Callable[[], Awaitable[Link]],
        *,
        tasks: TaskOwner,
        counters: RelayCounters,
    ) -> None:
        self.pool: Final = pool
        self.book: Final[Subscriptions[Hearer]] = Subscriptions()
        self._settings = settings
        self._opener = opener
        self._tasks = tasks
        self._counters = counters
        # Nobody else must hear the marks, or guess how to send one.
        self._marks: Final = b"poolguard subscriptions " + secrets.token_hex(8).encode()
        self._server: ListeningServer | None = None
        self._heard: dict[bytes, bool] = {}
        """By channel that was asked for: whether PostgreSQL has said yes."""
        self._waits: list[Wait] = []
        self._barriers: dict[int, Hearer] = {}
        self._outbox: deque[tuple[int, bytes, Iterator[Hearer]]] = deque()
        """Notifications that not everybody has been told of; while there are any, the server is not read."""
        self._opening = self._ready = self._stopped = self._gap = False
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._needed_at = monotonic()

    # What a session asks.

    def require(self, channels: tuple[bytes, ...], then: Callable[[bool], None]) -> bool:
        """True if *channels* are heard; else *then* is told once they are, or that they can't be (False)."""
        self._needed_at = monotonic()
        if self._ready and all(self._heard.get(channel) for channel in channels):
            return True
        self._waits.append(Wait(channels, then))
        if self._ready:
            self._listen([channel for channel in channels if channel not in self._heard])
        elif self._stopped or self._retry is not None:
            asyncio.get_running_loop().call_soon(self._give_up)  # not now; who waits must not be called back at once
        else:
            self._open()
        return False

    @property
    def ready(self) -> bool:
        """Whether the server is there and listens."""
        return self._ready

    @property
    def hears(self) -> list[bytes]:
        """The channels that PostgreSQL was asked for, and not yet told to forget."""
        return sorted(self._heard)

    def mark(self, number: int) -> bytes:
        """The statement that tells of the change *number* if it is committed."""
        return b"NOTIFY " + quoted(self._marks) + b",'%d'" % number

    def settle(self, hearer: Hearer) -> None:
        """The transaction of *hearer* is over: whatever of its changes is undecided now was rolled back."""
        if self._server is not None and self.book.proposes(hearer):
            # PostgreSQL's queue is in the order of commits: what is not heard before this never will be.
            number = self.book.number()
            self._barriers[number] = hearer
            self._server.ask(self.mark(number), _whatever)

    def leave(self, hearer: Hearer) -> None:
        """*hearer* listens to nothing any more."""
        self.book.leave(hearer)
        self._prune()

    # What the relay does.

    def tend(self) -> None:
        """Once a second: close what nobody needs."""
        if not self.book.empty or self._waits:
            self._needed_at = monotonic()
        elif self._server is not None and monotonic() - self._needed_at >= self._settings().idle_timeout > 0:
            self._close()

    def renew(self) -> None:
        """PostgreSQL is another one from now on."""
        if self._server is not None:
            self._close()
            self._was_lost()

    def stop(self) -> None:
        """Close, for good."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
        self._close()
        self._give_up()

    def _close(self) -> None:
        server, self._server = self._server, None
        self._ready = False
        self._heard.clear()
        self._barriers.clear()
        if server is not None:
            server.close()

    # The server.

    def _open(self) -> None:
        if not self._opening and self._server is None:
            self._opening = True
            self._tasks.spawn(self._opened(), name=f"open the listening server of pool {self.pool}")

    async def _opened(self) -> None:
        try:
            link = await self._opener()
        except PoolguardError as error:
            self._opening = False
            self._open_failed(error.sqlstate, str(error))
            return
        except BaseException:
            self._opening = False
            self._give_up()
            raise
        self._opening = False
        if self._stopped:
            link.transport.abort()
            return
        self._server = ListeningServer(link, self._hear, self._was_lost)
        channels = self.book.wanted.union(*(wait.channels for wait in self._waits))
        self._heard = dict.fromkeys(channels, False)
        self._server.ask(_listen_to((self._marks, *channels)), partial(self._begun, tuple(channels)))

    def _begun(self, channels: tuple[bytes, ...], succeeded: bool) -> None:
        if not succeeded:
            self._close()
            self._open_failed("25006", "PostgreSQL refuses LISTEN")
            return
        self._ready = True
        self._failures = 0
        self._heard.update(dict.fromkeys(channels, True))
        self._listen([channel for channel, heard in self._heard.items() if not heard])
        if self._gap:
            self._gap = False
            log.info("listening again", extra={"pool": self.pool, "clients": len(self.book.listeners)})
            for hearer in self.book.listeners:
                hearer.warn(MISSED)
        self._review(channels)

    def _open_failed(self, sqlstate: str, reason: str) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 16))
        self._failures += 1
        if self._failures == 1 or pause == LONGEST_PAUSE:
            log.warning(
                "the listening server could not be opened",
                extra={"pool": self.pool, "sqlstate": sqlstate, "reason": reason, "retry_seconds": pause},
            )
        self._give_up()
        self._retry = asyncio.get_running_loop().call_later(pause, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if not self._stopped and not self.book.empty:
            self._open()

    def _was_lost(self) -> None:
        self._server = None
        self._close()
        self.book.gap()
        for hearer in self.book.listeners:
            hearer.changed()
        if self.book.listeners and not self._stopped:
            self._gap = True
            self._counters.notification_gaps_total[self.pool] += 1
            log.warning(
                "the listening server was lost: notifications may be missed until it is back",
                extra={"pool": self.pool, "clients": len(self.book.listeners)},
            )
            self._open()
        self._give_up()

    # Channels.

    def _listen(self, channels: Iterable[bytes]) -> None:
        asked = tuple(channels)
        if asked and self._server is not None:
            self._heard.update(dict.fromkeys(asked, False))
            self._server.ask(_listen_to(asked), partial(self._listened, asked, self._server))

    def _listened(self, channels: tuple[bytes, ...], server: ListeningServer, succeeded: bool) -> None:
        if not succeeded:
            for channel in channels:
                self._heard.pop(channel, None)
            failed, self._waits = self._waits, []
            for wait in failed:
                wait.then(False)
            return
        self._heard.update(dict.fromkeys(channels, True))
        self._review(channels)

    def _review(self, channels: Iterable[bytes]) -> None:
        """*channels* are heard now: tell those who wait for no other."""
        waits, self._waits = self._waits, []
        for wait in waits:
            if all(self._heard.get(channel) for channel in wait.channels):
                wait.then(True)
            else:
                self._waits.append(wait)
        self._prune(channels)

    def _give_up(self) -> None:
        waits, self._waits = self._waits, []
        for wait in waits:
            wait.then(False)

    def _prune(self, unsure: Iterable[bytes] = ()) -> None:
        """Stop hearing what nobody wants any more, or of *unsure* not after all."""
        unwanted = self.book.abandoned()
        unwanted += [channel for channel in unsure if not self.book.wants(channel)]
        if not unwanted or self._server is None:
            return
        awaited = {channel for wait in self._waits for channel in wait.channels}
        # What PostgreSQL has not said yes to yet is looked at again when it has.
        stop = {channel for channel in unwanted if channel not in awaited and self._heard.get(channel)}
        if stop:
            for channel in stop:
                del self._heard[channel]
            self._server.ask(b";".join(b"UNLISTEN " + quoted(channel) for channel in stop), _whatever)

    def _hear(self, bodies: list[bytes]) -> None:
        for body in bodies:
            end = body.index(b"\0", 4)
            channel = body[4:end]
            if channel == self._marks:
                self._marked(body[end + 1 : -1])
            elif hearers := self.book.told(channel):
                pid = int.from_bytes(body[:4], "big")
                self._outbox.append((pid, messages.message(b"A", body), iter(hearers)))
        self._prune()
        if self._outbox:
            self._tell()

    def _tell(self) -> None:
        left, told = TOLD_AT_ONCE, 0
        while left and self._outbox:
            pid, message, hearers = self._outbox[0]
            for hearer in islice(hearers, left):
                left -= 1
                told += hearer.tell(pid, message)
            if left:
                self._outbox.popleft()
        self._counters.notifications_total[self.pool] += told
        self._counters.notifications_dropped_total[self.pool] += TOLD_AT_ONCE - left - told
        if self._outbox:
            asyncio.get_running_loop().call_soon(self._tell)
        if self._server is not None:
            self._server.listen_on(not self._outbox)

    def _marked(self, payload: bytes) -> None:
        if not payload.isdigit() or len(payload) > 20:
            return  # not one of ours
        number = int(payload)
        hearer = self._barriers.pop(number, None)
        if hearer is not None:
            self.book.void_before(hearer, number)
        elif (change := self.book.happened(number)) is not None:
            change.listener.changed()


def _listen_to(channels: Iterable[bytes]) -> bytes:
    return b";".join(b"LISTEN " + quoted(channel) for channel in channels)


def _whatever(succeeded: bool) -> None:
    """What comes of it shows in what is heard."""
