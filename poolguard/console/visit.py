"""One client's connection to the console."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from poolguard import __version__
from poolguard.console.statements import Kill, Show
from poolguard.console.tables import Table
from poolguard.console.talk import Talk
from poolguard.core.clock import Clock
from poolguard.core.errors import ClientViolation, PoolguardError
from poolguard.relay.visitors import Visitor
from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.startup import Startup

MOST_BODY: Final = 16 * 1024
"""Bytes of one message."""
MOST_UNHEARD: Final = 64 * 1024
"""Bytes that have come and wait for their turn; then the client is not read."""
UNREAD_SECONDS: Final = 60.0
"""How long a client may leave an answer unread."""
LINGER_SECONDS: Final = 5.0
"""How long a client that is sent away has to read why."""

SPEAKS_LIKE: Final = "16.0"
"""PostgreSQL's version that drivers are told: they read a number there, and nothing depends on it."""


def greeting(visitor: Visitor) -> bytes:
    """From AuthenticationOk to ReadyForQuery. The key that it holds cancels nothing: nothing here takes long."""
    status = {
        "server_version": f"{SPEAKS_LIKE} (poolguard {__version__})",
        "server_encoding": "UTF8",
        "client_encoding": "UTF8",
        "application_name": _application(visitor.asked),
        "session_authorization": visitor.asked.user,
        "is_superuser": "off",
        "in_hot_standby": "off",
        "default_transaction_read_only": "off",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "integer_datetimes": "on",
        "standard_conforming_strings": "on",
    }
    key = secrets.token_bytes(32 if visitor.asked.agreed_minor >= 2 else 4)
    return messages.greeting(status, visitor.number % 2**31, key)


def _application(asked: Startup) -> str:
    given = {name.lower(): value for name, value in (*asked.options, *asked.parameters)}
    return given.get("application_name", "")


class Visit(asyncio.Protocol):
    """From the greeting to the end. `heard_at` is when the client said something last (monotonic)."""

    def __init__(
        self,
        visitor: Visitor,
        perform: Callable[[Show | Kill], Awaitable[Table]],
        *,
        clock: Clock,
        on_gone: Callable[["Visit"], None],
    ) -> None:
        self.heard_at = clock.monotonic()
        self._clock = clock
        self._transport = visitor.transport
        self._on_gone = on_gone
        self._talk: Final = Talk(perform, self._send)
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._gone = False
        self._paused = False
        self._transport.set_protocol(self)
        self._transport.write(greeting(visitor))
        if visitor.early:
            self.data_received(visitor.early)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Keep it for run()."""
        self._buffer += data
        if len(self._buffer) > MOST_UNHEARD and not self._paused and not self._gone:
            self._paused = True
            self._transport.pause_reading()
        self._more.set()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone. What it asked for is done all the same."""
        self._leave()
        self._on_gone(self)

    # Its life.

    async def run(self) -> None:
        """Answer until the client goes, or is sent away."""
        splitter = FrameSplitter(max_body=MOST_BODY)
        try:
            while data := await self._heard():
                for tag, body in splitter.feed(data):
                    if not await self._talk.hear(tag, body):
                        return
                    await asyncio.sleep(0)  # many may have come at once, and sessions must not wait for all of them
        except ClientViolation as error:
            self.end(error)
        except TimeoutError:
            self._transport.abort()
        finally:
            self._hang_up()

    def end(self, error: PoolguardError) -> None:
        """Send the client away; *error* says why. Safe to repeat."""
        if not self._gone:
            self._transport.write(messages.error_of(error, severity="FATAL"))
            self._hang_up()

    def _hang_up(self) -> None:
        if self._gone:
            return
        self._leave()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    def _leave(self) -> None:
        self._gone = True
        self._more.set()
        self._room.set()

    async def _heard(self) -> bytes:
        """What has come; empty: the client has gone."""
        while not self._buffer and not self._gone:
            self._more.clear()
            await self._more.wait()
        if self._gone:
            return b""
        self.heard_at = self._clock.monotonic()
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._paused:
            self._paused = False
            with contextlib.suppress(RuntimeError):  # it closes just now
                self._transport.resume_reading()
        return data

    async def _send(self, data: bytes) -> None:
        if not self._room.is_set():
            async with asyncio.timeout(UNREAD_SECONDS):
                await self._room.wait()
        if data and not self._gone:
            self._transport.write(data)
