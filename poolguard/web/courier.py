"""Incidents carried to somebody outside, one after the other: repeated when that fails, never in anybody's way.

The queue is a `Stream` of the book: 100 incidents, and a receiver that is slow or away loses the oldest. One like
another that was told a moment ago is only counted.
"""

import asyncio
import logging
from typing import Final, NamedTuple

import aiohttp

from poolguard import __version__
from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.guard.book import IncidentBook, Stream
from poolguard.guard.counters import CourierCounters
from poolguard.guard.digest import Digest
from poolguard.guard.incidents import Incident

log = logging.getLogger(__name__)

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts; after the last the incident is given up."""
MOST_READ: Final = 1024
"""Bytes of an answer that are read: none of it matters."""


class Refused(NamedTuple):
    """An attempt that failed."""

    reason: str
    """For the log; holds no secret."""
    again: bool
    """Whether another attempt makes sense."""


def refused(status: int) -> Refused | None:
    """What an HTTP status means; None: it was taken."""
    return None if status < 300 else Refused(f"HTTP status {status}", status >= 500 or status == 429)


class Courier:
    """A service. What it carries, where and how, is said by who inherits from it."""

    name: str

    def __init__(self, book: IncidentBook, clock: Clock, *, pauses: tuple[float, ...] = PAUSES) -> None:
        self.counters: Final = CourierCounters()
        self._book = book
        self._clock = clock
        self._pauses = pauses
        self._digest = Digest()
        self._tasks = TaskOwner(_report_failure)
        self._failing = False

    def repeat_after(self, incident: Incident) -> float | None:
        """After how many seconds one like *incident* is told again; None: this one is not told at all.

        Asked anew for each incident and attempt: a reload counts at once.
        """
        raise NotImplementedError

    async def attempt(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> Refused | None:
        """Tell of *incident*, and of *repeats* like it that were not told. None: it was taken. May raise what aiohttp
        and sockets do."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin to carry."""
        self._tasks.spawn(self._run(), name=self.name)
        await asyncio.sleep(0)  # from here on it hears every incident

    async def drain(self, deadline: float) -> None:
        """Incidents of the drain are carried too."""

    async def stop(self) -> None:
        """Carry no more. What is under way is given up."""
        await self._tasks.close()

    async def _run(self) -> None:
        with self._book.subscribe() as stream:
            async with aiohttp.ClientSession(headers={"User-Agent": f"poolguard/{__version__}"}) as session:
                await self._serve(stream, session)

    async def _serve(self, stream: Stream, session: aiohttp.ClientSession) -> None:
        async for incident in stream:
            self.counters.missed = stream.missed
            repeat_after = self.repeat_after(incident)
            if repeat_after is None:
                continue
            repeats = self._digest.take(incident, self._clock.monotonic(), repeat_after)
            if repeats is None:
                self.counters.repeats += 1
                continue
            await self._carry(session, incident, repeats)

    async def _carry(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> None:
        for pause in (*self._pauses, None):
            if self.repeat_after(incident) is None:
                return
            try:
                failure = await self.attempt(session, incident, repeats)
            except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
                failure = Refused(type(error).__name__, again=True)
            if failure is None:
                self.counters.sent += 1
                self._failing = False
                return
            if pause is None or not failure.again:
                self.counters.failed += 1
                self._tell(incident, failure)
                return
            await self._clock.sleep_until(self._clock.monotonic() + pause)

    def _tell(self, incident: Incident, failure: Refused) -> None:
        """Log the first of several failures; the others are counted. Not the URL: it may hold a secret."""
        if not self._failing:
            log.error(
                "an incident could not be sent; until one can, the others are only counted",
                extra={"to": self.name, "incident_id": incident.id, "reason": failure.reason},
            )
        self._failing = True


def _report_failure(name: str, error: BaseException) -> None:
    log.error("incidents are not sent any more; please report this as a bug", extra={"task": name}, exc_info=error)
