"""Incidents by HTTP POST to somebody who wants to be told, as JSON, signed.

Signature: `X-Poolguard-Signature: sha256=` and the hexadecimal HMAC-SHA256 of `X-Poolguard-Time`, a dot and the body.
"""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256

import aiohttp

from poolguard.core.clock import Clock
from poolguard.guard.book import IncidentBook
from poolguard.guard.incidents import Incident
from poolguard.settings.model import Webhook as WebhookSettings
from poolguard.web.courier import MOST_READ, PAUSES, Courier, Refused, refused
from poolguard.web.replies import to_json


class Webhook(Courier):
    """Carries every incident, where *settings* name a receiver."""

    name = "webhook"

    def __init__(
        self,
        book: IncidentBook,
        clock: Clock,
        settings: Callable[[], WebhookSettings],
        *,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        super().__init__(book, clock, pauses=pauses)
        self._settings = settings

    def repeat_after(self, incident: Incident) -> float | None:
        """See `Courier`."""
        settings = self._settings()
        return None if settings.url is None else settings.repeat_after

    async def attempt(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> Refused | None:
        """See `Courier`."""
        settings = self._settings()
        assert settings.url is not None, "whoever has no URL is not sent to"
        body = to_json({"incident": incident.as_json(), "repeats": repeats})
        headers = signed(body, settings.secret, int(self._clock.wall()))
        timeout = aiohttp.ClientTimeout(total=settings.timeout)
        async with session.post(
            settings.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            await answer.content.read(MOST_READ)
            return refused(answer.status)


def signed(body: bytes, secret: str | None, time: int) -> Mapping[str, str]:
    """The headers of *body*, which is sent at *time* (seconds since 1970)."""
    headers = {"Content-Type": "application/json", "X-Poolguard-Time": str(time)}
    if secret:
        digest = hmac.new(secret.encode(), f"{time}.".encode() + body, sha256).hexdigest()
        headers["X-Poolguard-Signature"] = f"sha256={digest}"
    return headers
