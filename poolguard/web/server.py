"""One HTTP listener as a service: bounded in connections, headers and idle time."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from poolguard.core.clock import Clock
from poolguard.core.errors import SettingsError
from poolguard.web.connection import Connection, Speaker
from poolguard.web.errors import HEADER_BYTES
from poolguard.web.shortcut import Shortcut

log = logging.getLogger(__name__)
_http_log = logging.getLogger(f"{__name__}.http")

MAX_CONNECTIONS: Final = 1000
IDLE_SECONDS: Final = 75.0
"""A connection on which no whole request came for so long is closed. Longer than proxies keep theirs."""
STOP_SECONDS: Final = 1.0
"""What stop() gives to requests that still run."""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: 67\r\n\r\n"
    b'{"error":"too_many_connections","message":"too many connections"}\n\n'
)


def _quiet_if_malformed(record: logging.LogRecord) -> bool:
    """Let a request that is not HTTP be told at DEBUG and without its text: that may hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    record.msg, record.args, record.exc_info = "malformed HTTP request", (), None
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return _http_log.isEnabledFor(logging.DEBUG)


_http_log.addFilter(_quiet_if_malformed)


class WebServer:
    """Listens while it is started. Applications are served on the event loop that starts it."""

    def __init__(
        self,
        name: str,
        app: Callable[[], web.Application],
        clock: Clock,
        *,
        host: str,
        port: int,
        max_connections: int = MAX_CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
        shortcut: Shortcut | None = None,
    ) -> None:
        self.name: Final = name
        self._app = app
        self._clock = clock
        self._host = host
        self._wanted_port = port
        self._max_connections = max_connections
        self._shortcut = shortcut
        self._limits: Final[dict[str, Any]] = {
            "access_log": None,
            "logger": _http_log,
            "keepalive_timeout": idle_seconds,
            "max_line_size": HEADER_BYTES,
            "max_field_size": HEADER_BYTES,
            "lingering_time": 1.0,
        }
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._port: int | None = None
        self._running = 0
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    @property
    def port(self) -> int:
        """The port that is really listened on, also when the settings say 0. Not before start()."""
        assert self._port is not None, f"{self.name} is not started"
        return self._port

    async def start(self) -> None:
        """Bind and listen. Raises SettingsError if the address can't be bound."""
        app = self._app()
        app.middlewares.insert(0, self._counted())
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=STOP_SECONDS, **self._limits)
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._protocol, self._host, self._wanted_port, reuse_address=True, backlog=128
            )
        except BaseException as error:
            await self.stop()
            if not isinstance(error, OSError):
                raise
            why = os.strerror(error.errno) if error.errno else error
            raise SettingsError(
                f"{self.name}: can't listen on {self._host}:{self._wanted_port}: {why}",
                hint=f"Free the port, or set another host or port for listen.{self.name}.",
            ) from error
        self._port = self._listener.sockets[0].getsockname()[1]
        log.info("listening for HTTP", extra={"listener": self.name, "host": self._host, "port": self.port})

    async def drain(self, deadline: float) -> None:
        """Take no new connection; return when all requests are answered, or at *deadline* (monotonic)."""
        if self._listener is not None:
            self._listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                await self._all_answered.wait()

    async def stop(self) -> None:
        """Close everything."""
        listener, self._listener = self._listener, None
        runner, self._runner = self._runner, None
        if listener is not None:
            listener.close()
        if runner is not None:
            await runner.cleanup()

    def _protocol(self) -> asyncio.BaseProtocol:
        assert self._runner is not None, f"{self.name} takes a connection after its end"
        server = self._runner.server
        assert server is not None, f"{self.name} takes a connection before its start"
        if len(server.connections) >= self._max_connections:
            return _Refusal()
        loop = asyncio.get_running_loop()
        if self._shortcut is None:
            return Speaker(server, loop=loop, **self._limits)
        return Connection(server, self._shortcut, loop=loop, **self._limits)

    def _counted(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._running += 1
            self._all_answered.clear()
            try:
                return await handler(request)
            finally:
                self._running -= 1
                if not self._running:
                    self._all_answered.set()

        return middleware


class _Refusal(asyncio.Protocol):
    """Says 503 and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of asyncio's
        stream.write(_BUSY)
        stream.close()
