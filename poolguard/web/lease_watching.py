"""Leases as they change: the long poll, and the stream of events."""

import contextlib
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from poolguard.core.clock import Clock
from poolguard.core.errors import InvalidLease, LeaseBusy
from poolguard.lease import terms, wording
from poolguard.lease.manager import LeaseManager, Standing
from poolguard.lease.topics import Topic
from poolguard.lease.watcher import Watch
from poolguard.web import lease_schemas as schemas
from poolguard.web.errors import body_of
from poolguard.web.replies import reply
from poolguard.web.streams import LOOK_SECONDS, PING_SECONDS, ClientGone, EventStream

INDEX: Final = "X-Poolguard-Index"
WATCH_KEYS: Final = ("index", "wait")
DEFAULT_WAIT_SECONDS: Final = 30.0
MAX_WAIT_SECONDS: Final = 60.0
MAX_LIST_WATCHES: Final = 16
"""Each asks PostgreSQL once a second, which watching one lease does not."""
_LIST_PAUSE_SECONDS: Final = 1.0
_INDEX: Final = re.compile(r"[0-9]{1,19}")
_WAIT: Final = re.compile(r"([0-9]{1,5})(ms|s|m)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def parse_watch(query: Mapping[str, str]) -> tuple[int | None, float]:
    """Read *index* (None: don't wait) and *wait* in seconds. Raises InvalidLease."""
    index, wait = query.get("index"), query.get("wait")
    if index is not None and not _INDEX.fullmatch(index):
        raise InvalidLease(f"index must be the number that the last answer had as {INDEX}")
    found = _WAIT.fullmatch(wait) if wait is not None else None
    seconds = DEFAULT_WAIT_SECONDS if wait is None else MAX_WAIT_SECONDS + 1
    if found is not None:
        seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > MAX_WAIT_SECONDS:
        raise InvalidLease(f"wait must be a duration up to {MAX_WAIT_SECONDS:g}s, such as 30s")
    return None if index is None else int(index), seconds


class LeaseWatching:
    """Waits for changes on behalf of requests."""

    def __init__(self, manager: LeaseManager, clock: Clock) -> None:
        self._manager: Final = manager
        self._clock: Final = clock
        self._lists = 0

    async def one(self, name: str, index: int, seconds: float, *, gone: Callable[[], bool]) -> Standing:
        """Return the lease once its index is not *index*, or after *seconds*, or when *gone* says that nobody waits.

        Raises LeaseNotFound, and what the store raised if it could not be asked all the while.
        """
        terms.check_name(name)
        deadline = self._clock.monotonic() + seconds
        with self._manager.watcher.watch([name]) as watch:
            topic = watch.topic(name)
            while topic.index in {None, index} and (now := self._clock.monotonic()) < deadline and not gone():
                await watch.changed(min(deadline, now + LOOK_SECONDS))
            if topic.index is None and watch.failure is None:
                return await self._manager.get(name)  # so short a wait that nobody has looked yet
            return self._standing(name, watch, topic)

    def _standing(self, name: str, watch: Watch, topic: Topic) -> Standing:
        if watch.failure is not None:
            raise watch.failure
        if topic.row is None:
            raise wording.not_found(name)
        # Seen a while ago; what has passed since then is gone from its validity.
        age = self._clock.monotonic() - topic.seen_at
        return Standing(topic.row, max(0.0, topic.row.valid_for_seconds - age))

    async def page(
        self, read: Callable[[], Awaitable[Sequence[Standing]]], index: int, seconds: float
    ) -> Sequence[Standing]:
        """Return what *read* gives once its index is not *index*, or after *seconds* all the same."""
        if self._lists >= MAX_LIST_WATCHES:
            raise LeaseBusy(f"{self._lists} lists are watched already", hint="Ask without index, or watch one lease.")
        deadline = self._clock.monotonic() + seconds
        self._lists += 1
        try:
            while index_of_page(found := await read()) == index:
                now = self._clock.monotonic()
                if now >= deadline:
                    break
                await self._clock.sleep_until(min(deadline, now + _LIST_PAUSE_SECONDS))
        finally:
            self._lists -= 1
        return found

    async def events(self, request: web.Request, name: str) -> web.StreamResponse:
        """Stream every state of the lease, from the one after Last-Event-ID on; several at once may become one."""
        terms.check_name(name)
        last = request.headers.get("Last-Event-ID", "")
        seen = int(last) if _INDEX.fullmatch(last) else None
        with self._manager.watcher.watch([name]) as watch:
            stream = await EventStream.open(request)
            with contextlib.suppress(ClientGone):
                await self._tell(stream, name, watch, seen)
            return stream.response

    async def _tell(self, stream: EventStream, name: str, watch: Watch, seen: int | None) -> None:
        topic, failed = watch.topic(name), False
        ping_at = self._clock.monotonic() + PING_SECONDS
        while not stream.gone:
            if watch.failure is not None and not failed:
                await stream.send("unavailable", body_of(watch.failure))
            failed = watch.failure is not None
            if not failed and topic.index is not None and topic.index != seen:
                seen = topic.index
                shown = None if topic.row is None else schemas.lease(self._standing(name, watch, topic))
                await stream.send("lease", shown, index=seen)
            now = self._clock.monotonic()
            if now >= ping_at:
                await stream.ping()
                ping_at = now + PING_SECONDS
            await watch.changed(min(ping_at, now + LOOK_SECONDS))


def index_of_page(found: Sequence[Standing]) -> int:
    """A number that differs when anything in *found* that a watcher wants to know of does."""
    return zlib.crc32("\n".join(f"{one.row.name} {one.row.index}" for one in found).encode())


def with_index(standing: Standing, *, status: int = 200) -> web.Response:
    """An answer that a long poll can go on from."""
    return reply(schemas.lease(standing), status=status, headers={INDEX: str(standing.row.index)})
