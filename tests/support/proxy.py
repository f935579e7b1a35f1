"""A network that can be broken: a TCP proxy in front of PostgreSQL that delays, cuts, goes silent, and heals.

Silent means what it means on a real network: packets are lost, nobody is told, and TCP sends them again once the way
is open; so nothing is dropped here, only held back, ends of connections too. A connection that is opened meanwhile
is accepted (by the kernel) and hears nothing.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

from psycopg import conninfo

from tests.support.cluster import Database

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no time at all: what is closed so is reset."""


class Way(Enum):
    """A direction."""

    TO_SERVER = "to the server"
    FROM_SERVER = "from the server"


BOTH: Final = (Way.TO_SERVER, Way.FROM_SERVER)


class Proxy:
    """Passes bytes on between its clients and one server. On the test's own loop; see `proxy_to`."""

    def __init__(self, host: str, port: int) -> None:
        self.passed: Final = dict.fromkeys(Way, 0)
        """Bytes that went each way so far, on all connections together."""
        self.accepted = 0
        """Connections that ever came."""
        self._host = host
        self._port = port
        self._open: Final = {way: asyncio.Event() for way in Way}
        self._delay: Final = dict.fromkeys(Way, 0.0)
        self._room: Final[dict[Way, int | None]] = dict.fromkeys(Way)
        """Bytes that may still pass before everything is cut."""
        self._refusing = False
        self._living: Final[set[asyncio.Task[None]]] = set()
        self._writers: Final[set[asyncio.StreamWriter]] = set()
        self._listener: asyncio.Server | None = None
        self.heal()

    # What a test does.

    def delay(self, seconds: float, *ways: Way) -> None:
        """From now on every chunk takes *seconds* longer, each way or both."""
        for way in ways or BOTH:
            self._delay[way] = seconds

    def silence(self, *ways: Way) -> None:
        """Let nothing more through, each way or both, and tell nobody."""
        for way in ways or BOTH:
            self._open[way].clear()

    def cut(self) -> None:
        """Reset every connection now; who comes later is let through."""
        for writer in list(self._writers):
            _reset(writer)
        for task in list(self._living):
            task.cancel()

    def cut_after(self, size: int, way: Way) -> None:
        """Let *size* more bytes through *way*, and then cut."""
        self._room[way] = size
        if not size:
            self._room[way] = None
            self.cut()

    def refuse(self) -> None:
        """Reset every connection, and every new one, until `heal`."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Let everything through at once, what was held back first."""
        self._refusing = False
        for way in Way:
            self._delay[way] = 0.0
            self._room[way] = None
            self._open[way].set()

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._living)

    @property
    def port(self) -> int:
        """Where it listens, at 127.0.0.1."""
        assert self._listener is not None, "not started"
        return int(self._listener.sockets[0].getsockname()[1])

    # How it works.

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Cut everything, and listen no more."""
        assert self._listener is not None, "not started"
        self._listener.close()
        self.cut()
        while self._living:
            await asyncio.wait(list(self._living))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a callback of the listener is a task"
        self._writers.add(writer)
        self._living.add(task)
        self.accepted += 1
        try:
            if not self._refusing:
                await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # cut, by either end or by the test: a listener's callback has nobody to tell
        finally:
            self._living.discard(task)
            self._writers.discard(writer)
            _reset(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers.add(back)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, back, Way.TO_SERVER))
                both.create_task(self._pump(there, writer, Way.FROM_SERVER))
        except ExceptionGroup:
            pass  # one end has reset; so does the other, below
        finally:
            self._writers.discard(back)
            _reset(back)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        while True:
            data = await source.read(1 << 16)
            if self._delay[way]:
                await asyncio.sleep(self._delay[way])
            await self._open[way].wait()
            room = self._room[way]
            if room is not None and len(data) >= room:
                sink.write(data[:room])
                self.passed[way] += room
                # Behind what was let through: a reset would overtake it.
                await _flushed(sink)
                self.cut_after(0, way)
                return
            if room is not None:
                self._room[way] = room - len(data)
            if not data:
                with suppress(OSError):
                    sink.write_eof()
                return
            self.passed[way] += len(data)
            sink.write(data)
            await sink.drain()


async def _flushed(writer: asyncio.StreamWriter) -> None:
    """Return when the kernel at the other end has everything: then a reset can't overtake it."""
    writer.transport.set_write_buffer_limits(high=0)
    await writer.drain()
    sock: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if not writer.is_closing() and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(database: Database) -> AsyncIterator[tuple[Proxy, Database]]:
    """A proxy in front of *database*, and the database as it is found through it."""
    proxy = Proxy(database.host, database.port)
    await proxy.start()
    try:
        yield proxy, Database(conninfo.make_conninfo(database.dsn, host="127.0.0.1", port=proxy.port))
    finally:
        await proxy.stop()
