"""aiohttp's side of one connection, with a way past it for requests that can be answered at once."""

import asyncio
import re
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from poolguard.web.errors import unreadable
from poolguard.web.shortcut import Shortcut

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)")
_UNCOUNTED: Final = re.compile(rb"\r\n(?:transfer-encoding|upgrade)[ \t]*:")


def body_to_come(data: bytes) -> int | None:
    """How many bytes of its body the request that begins *data* still lacks; below 0: more than it came with it.

    None: that can't be told from here.
    """
    head, ended, body = data.partition(b"\r\n\r\n")
    if not ended:
        return None
    fields = head.lower() + b"\r\n"
    lengths = _LENGTH.findall(fields)
    if _UNCOUNTED.search(fields) or len(lengths) != fields.count(b"\r\ncontent-length") or len(lengths) > 1:
        return None
    return int(lengths[0] if lengths else 0) - len(body)


class Speaker(web.RequestHandler):
    """aiohttp's own, but for what it can't read: that is answered in JSON, as every failure is."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or too long for one. The connection is closed."""
        super().handle_error(request, status, exc, message)  # for its log; its text repeats what was sent
        answer = unreadable(status, too_long=isinstance(exc, LineTooLong))
        answer.force_close()
        return answer


class Connection(Speaker):
    """What *shortcut* answers is answered in place, between two requests of which aiohttp knows.

    The order of answers is the order of requests: the shortcut is asked only while every request that aiohttp got has
    been answered, and its parser stands where a request begins. A client that sends a request in pieces, or the next
    one before it had its answer, is served by aiohttp alone from then on.
    """

    __slots__ = ("_answered", "_handed_over", "_lacking", "_shortcut")

    def __init__(self, manager: web.Server, shortcut: Shortcut, **limits: Any) -> None:
        super().__init__(manager, **limits)
        self._shortcut: Final = shortcut
        self._handed_over = 0
        self._answered = 0
        self._lacking: int | None = 0
        """Bytes of the body of the latest request that aiohttp got; None: unknown, for good."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write at once: uvloop would wait for the end of the turn, behind all that the relay has to do in it."""
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Answer, or hand over to aiohttp."""
        if self._lacking is not None and data:  # aiohttp itself calls with nothing, to make its parser go on
            if self._handed_over == self._answered and not self._lacking:
                if self._answer(data):
                    return
                self._handed_over += 1
                self._lacking = body_to_come(data)
            else:
                self._lacking -= len(data)
            if self._lacking is not None and self._lacking < 0:
                self._lacking = None
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Take note that a request is answered, to its last byte."""
        finished, reset = await super().finish_response(request, resp, start_time)
        self._answered += 1
        if not finished.keep_alive:
            self._lacking = None
        return finished, reset

    def _answer(self, data: bytes) -> bool:
        if self.transport is None or self.writing_paused:
            return False
        answer = self._shortcut(data)
        if answer is None:
            return False
        self.transport.write(answer)
        # aiohttp closes a connection on which it has seen no request for so long.
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        return True
