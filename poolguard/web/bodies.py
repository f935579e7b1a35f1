"""Bodies are read whole, within a limit of length and time, before a handler sees the request."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from poolguard.core.errors import ClientViolation

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 10.0


class BodyTooSlow(ClientViolation):
    """The body did not come in time."""

    http_status = 408
    code = "body_too_slow"


def read_bodies(within_seconds: float = BODY_SECONDS) -> Middleware:
    """The middleware that does it; `request.read()` then returns at once."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.can_read_body:
            try:
                async with asyncio.timeout(within_seconds):
                    await request.read()
            except TimeoutError:
                raise BodyTooSlow(f"the body did not come within {within_seconds:g} s") from None
        return await handler(request)

    return middleware
