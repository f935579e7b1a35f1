"""Incidents by HTTP POST to somebody who wants to be told: signed, repeated when that fails, never in anybody's way.

The queue is a `Stream` of the book: 100 incidents, and a receiver that is slow or away loses the oldest. Signature:
`X-Poolguard-Signature: sha256=` and the hexadecimal HMAC-SHA256 of `X-Poolguard-Time`, a dot and the body.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

import aiohttp

from poolguard import __version__
from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.guard.book import IncidentBook, Stream
from poolguard.guard.counters import WebhookCounters
from poolguard.guard.digest import Digest
from poolguard.guard.incidents import Incident
from poolguard.settings.model import Webhook as WebhookSettings
from poolguard.web.replies import to_json

log = logging.getLogger(__name__)

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts; after the last the incident is given up."""
MOST_READ: Final = 1024


class Webhook:
    """A service. Settings are asked anew for each incident: a reload counts at once."""

    name = "webhook"

    def __init__(
        self,
        book: IncidentBook,
        clock: Clock,
        settings: Callable[[], WebhookSettings],
        *,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self.counters: Final = WebhookCounters()
        self._book = book
        self._clock = clock
        self._settings = settings
        self._pauses = pauses
        self._digest = Digest()
        self._tasks = TaskOwner(_report_failure)

    async def start(self) -> None:
        """Begin to send."""
        self._tasks.spawn(self._run(), name=self.name)
        await asyncio.sleep(0)  # from here on it hears every incident

    async def drain(self, deadline: float) -> None:
        """Incidents of the drain are sent too."""

    async def stop(self) -> None:
        """Send no more. What is under way is given up."""
        await self._tasks.close()

    async def _run(self) -> None:
        with self._book.subscribe() as stream:
            async with aiohttp.ClientSession(headers={"User-Agent": f"poolguard/{__version__}"}) as session:
                await self._serve(stream, session)

    async def _serve(self, stream: Stream, session: aiohttp.ClientSession) -> None:
        async for incident in stream:
            self.counters.missed = stream.missed
            settings = self._settings()
            if settings.url is None:
                continue
            repeats = self._digest.take(incident, self._clock.monotonic(), settings.repeat_after)
            if repeats is None:
                self.counters.repeats += 1
                continue
            await self._send(session, incident, repeats)

    async def _send(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> None:
        body = to_json({"incident": incident.as_json(), "repeats": repeats})
        for pause in (*self._pauses, None):
            settings = self._settings()
            if settings.url is None:
                return
            reason, again = await self._attempt(session, settings, body)
            if reason is None:
                self.counters.sent += 1
                return
            if pause is None or not again:
                self.counters.failed += 1
                # Not the URL: it may hold a secret.
                log.error("an incident could not be sent", extra={"incident_id": incident.id, "reason": reason})
                return
            await self._clock.sleep_until(self._clock.monotonic() + pause)

    async def _attempt(
        self, session: aiohttp.ClientSession, settings: WebhookSettings, body: bytes
    ) -> tuple[str | None, bool]:
        """Why it was not taken (None: it was), and whether another attempt makes sense."""
        assert settings.url is not None, "whoever has no URL is not sent to"
        timeout = aiohttp.ClientTimeout(total=settings.timeout)
        headers = signed(body, settings.secret, int(self._clock.wall()))
        try:
            async with session.post(
                settings.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                await answer.content.read(MOST_READ)
                if answer.status < 300:
                    return None, False
                return f"HTTP status {answer.status}", answer.status >= 500 or answer.status == 429
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return type(error).__name__, True


def signed(body: bytes, secret: str | None, time: int) -> Mapping[str, str]:
    """The headers of *body*, which is sent at *time* (seconds since 1970)."""
    headers = {"Content-Type": "application/json", "X-Poolguard-Time": str(time)}
    if secret:
        digest = hmac.new(secret.encode(), f"{time}.".encode() + body, sha256).hexdigest()
        headers["X-Poolguard-Signature"] = f"sha256={digest}"
    return headers


def _report_failure(name: str, error: BaseException) -> None:
    log.error("incidents are not sent any more; please report this as a bug", extra={"task": name}, exc_info=error)
