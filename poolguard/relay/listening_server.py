"""The connection of a listening server: says what it is told to, in turns, and hears notifications."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from poolguard.core.errors import ServerViolation
from poolguard.upstream.link import Link
from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter

ANSWER_SECONDS: Final = 5.0
"""How long the listening server may take for a LISTEN before it is taken for lost."""

MAX_MESSAGE: Final = 64 * 1024
"""A notification is at most some 8 KiB (PostgreSQL docs, NOTIFY); a notice or an error may be longer."""

_NOTIFICATION, _READY, _ERROR = b"AZE"


def quoted(channel: bytes) -> bytes:
    """A channel as SQL."""
    return b'"' + channel.replace(b'"', b'""') + b'"'


class ListeningServer(asyncio.Protocol):
    """Gives the bodies of the notifications that it hears to *heard*, and tells *lost* when it has ended."""

    def __init__(self, link: Link, heard: Callable[[list[bytes]], None], lost: Callable[[], None]) -> None:
        self.transport: Final = link.transport
        self._heard = heard
        self._lost = lost
        self._splitter = FrameSplitter(max_body=MAX_MESSAGE, blame=ServerViolation)
        self._asked: deque[Callable[[bool], None]] = deque()
        self._failed = False
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def ask(self, sql: bytes, done: Callable[[bool], None]) -> None:
        """Run *sql*; *done* is told whether it succeeded, unless the connection ends first."""
        if not self.transport.is_closing():
            self._asked.append(done)
            self.transport.write(messages.query(sql))
            if self._timer is None:
                self._arm()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Notifications, and the end of what was asked."""
        try:
            frames = self._splitter.feed(data)
        except ServerViolation:
            self.transport.abort()
            return
        for tag, _ in frames:
            if tag == _ERROR:
                self._failed = True
            elif tag == _READY and self._asked:
                self._answered()
        if heard := [body for tag, body in frames if tag == _NOTIFICATION]:
            self._heard(heard)

    def _answered(self) -> None:
        done, succeeded = self._asked.popleft(), not self._failed
        self._failed = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asked:
            self._arm()
        done(succeeded)

    def connection_lost(self, exc: Exception | None) -> None:
        """PostgreSQL or the network ended it, or we did."""
        if self._timer is not None:
            self._timer.cancel()
        self._lost()

    def listen_on(self, on: bool) -> None:
        """Read on, or not for now."""
        if self._reading is not on and not self.transport.is_closing():
            self._reading = on
            if on:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def close(self) -> None:
        """End it as a client would; *lost* is not told."""
        self._lost = lambda: None
        if not self.transport.is_closing():
            self.transport.write(messages.TERMINATE)
            self.transport.close()
