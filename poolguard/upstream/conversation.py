"""A connection that is read piece by piece, and only when asked: for as long as an exchange is strictly in turns."""

import asyncio
import socket
from typing import Self, cast

from poolguard.core.errors import UpstreamUnavailable


class Conversation(asyncio.Protocol):
    """Reading is paused but inside of `receive()`: nothing is ever read ahead of who will own it.

    One `receive` at a time. Works on a plain transport, and goes on on the TLS transport made of it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._raw: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._lost = False
        self._error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """Begin on a connected socket, which is the conversation's from now on, also if this raises."""
        loop = asyncio.get_running_loop()
        connect = loop.create_unix_connection if sock.family == socket.AF_UNIX else loop.create_connection
        try:
            transport, conversation = await connect(cls, sock=sock)
        except BaseException:
            sock.close()
            raise
        # Again: uvloop begins to read after connection_made, whatever that has said. What came before stays unread.
        transport.pause_reading()
        return conversation

    @property
    def transport(self) -> asyncio.Transport:
        """The transport to write to, and to hand over."""
        assert self._transport is not None, "there is a transport once connection_made was called"
        return self._transport

    @property
    def unread(self) -> bool:
        """True if bytes came with those that `receive` returned last, and behind them."""
        return bool(self._arrived)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin paused."""
        # uvloop's transports are no subclasses of asyncio's.
        stream = cast("asyncio.Transport", transport)
        self._transport = self._raw = stream
        stream.pause_reading()

    def continue_on(self, transport: asyncio.Transport) -> None:
        """Go on with *transport*, which speaks TLS through the old one."""
        self._transport = transport
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Keep *data*, and read no more before it is asked for."""
        self._arrived += data
        self.transport.pause_reading()
        self._awaken()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever reads."""
        self._lost, self._error = True, exc
        self._awaken()

    def _awaken(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def receive(self) -> bytes:
        """Return what comes next, at least a byte. Raises UpstreamUnavailable once the other end has closed."""
        if not self._arrived and not self._lost:
            self._wake = asyncio.get_running_loop().create_future()
            self.transport.resume_reading()
            try:
                await self._wake
            finally:
                self._wake = None
                if not self._lost:
                    self.transport.pause_reading()
        if not self._arrived:
            reason = f": {self._error.strerror}" if isinstance(self._error, OSError) else ""
            raise UpstreamUnavailable(f"PostgreSQL closed the connection before the login was complete{reason}")
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    async def closed(self) -> None:
        """Read and drop everything until the other end has closed."""
        while not self._lost:
            try:
                await self.receive()
            except UpstreamUnavailable:
                return

    def abort(self) -> None:
        """Close the socket now, whatever was still to be said."""
        for transport in (self._transport, self._raw):
            if transport is not None:
                transport.abort()
