"""Server-sent events: one long answer, written as things happen, to a client that reads it."""

import asyncio
from typing import Final, Self

from aiohttp import web

from poolguard.web.replies import to_json

PING_SECONDS: Final = 5.0
"""A comment is sent so often, so that both ends notice when the other has gone."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the client closed the connection."""
WRITE_SECONDS: Final = 5.0
"""A client that reads so slowly is cut off."""

_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",
}


class ClientGone(Exception):
    """The client closed the stream, or does not read it."""


def client_gone(request: web.Request) -> bool:
    """Whether the client has closed the connection; a handler that waits is not told."""
    return request.transport is None or request.transport.is_closing()


class EventStream:
    """Writes events. Every method raises ClientGone once nobody reads."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response

    @classmethod
    async def open(cls, request: web.Request) -> Self:
        """Answer *request* with a stream."""
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        return cls(request, response)

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns at the end."""
        return self._response

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        return client_gone(self._request)

    async def send(self, event: str, data: object, *, index: int | None = None) -> None:
        """Write one event; *index* becomes its id, which a client sends again as Last-Event-ID."""
        head = f"id: {index}\n" if index is not None else ""
        # JSON on one line: a line feed would end the field.
        await self._write(f"{head}event: {event}\ndata: ".encode() + to_json(data) + b"\n")

    async def ping(self) -> None:
        """Write a comment, which clients skip."""
        await self._write(b": ping\n\n")

    async def _write(self, data: bytes) -> None:
        if self.gone:
            raise ClientGone
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._response.write(data)
        except (ConnectionError, TimeoutError):
            if self._request.transport is not None:
                self._request.transport.close()
            raise ClientGone from None
