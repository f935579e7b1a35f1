"""A client that says exactly what a test writes, byte by byte, and keeps all that it is told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from poolguard.wire import startup
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.messages import error_fields, message

PATIENCE: Final = 10.0
"""Seconds that a reply may take before the test fails."""

SYNC: Final = message(b"S")
FLUSH: Final = message(b"H")
TERMINATE: Final = message(b"X")
COPY_DONE: Final = message(b"c")


def query(sql: str) -> bytes:
    """Query."""
    return message(b"Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "", types: Sequence[int] = ()) -> bytes:
    """Parse."""
    head = name.encode() + b"\0" + sql.encode() + b"\0"
    return message(b"P", head + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(*values: str | None, name: str = "", portal: str = "") -> bytes:
    """Bind with values in text format."""
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack("!HH", 0, len(values))
    for value in values:
        encoded = (value or "").encode()
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(encoded)) + encoded
    return message(b"B", body + struct.pack("!H", 0))


def describe_statement(name: str = "") -> bytes:
    """Describe a statement."""
    return message(b"D", b"S" + name.encode() + b"\0")


def describe(portal: str = "") -> bytes:
    """Describe a portal."""
    return message(b"D", b"P" + portal.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    """Execute, of at most *rows* rows."""
    return message(b"E", portal.encode() + b"\0" + struct.pack("!I", rows))


def close_statement(name: str = "") -> bytes:
    """Close a statement."""
    return message(b"C", b"S" + name.encode() + b"\0")


def close_portal(portal: str = "") -> bytes:
    """Close a portal."""
    return message(b"C", b"P" + portal.encode() + b"\0")


def run(sql: str, *values: str | None) -> bytes:
    """One statement by the extended protocol, without its Sync."""
    return parse(sql) + bind(*values) + describe() + execute()


def copy_data(data: str | bytes) -> bytes:
    """CopyData."""
    return message(b"d", data.encode() if isinstance(data, str) else data)


def copy_fail(reason: str) -> bytes:
    """CopyFail."""
    return message(b"f", reason.encode() + b"\0")


def function_call(oid: int, *arguments: bytes) -> bytes:
    """FunctionCall with binary arguments and a binary result."""
    body = struct.pack("!IHHH", oid, 1, 1, len(arguments))
    for argument in arguments:
        body += struct.pack("!I", len(argument)) + argument
    return message(b"F", body + struct.pack("!H", 1))


class Message(NamedTuple):
    """One message from the server."""

    tag: str
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """Of an error or a notice."""
        assert self.tag in "EN", self
        return error_fields(self.body)

    @property
    def sqlstate(self) -> str:
        """Of an error or a notice."""
        return self.fields["C"]


def tags(messages: Sequence[Message]) -> str:
    """The tags in a row; ReadyForQuery with its status: `TDC ZI`."""
    return "".join(f" Z{m.body.decode()} " if m.tag == "Z" else m.tag for m in messages).strip().replace("  ", " ")


def sqlstates(messages: Sequence[Message]) -> list[str]:
    """Of the errors."""
    return [m.sqlstate for m in messages if m.tag == "E"]


def rows(messages: Sequence[Message]) -> list[tuple[str | None, ...]]:
    """The rows, as text."""
    return [_columns(m.body) for m in messages if m.tag == "D"]


def command_tags(messages: Sequence[Message]) -> list[str]:
    """Of the CommandCompletes."""
    return [m.body.rstrip(b"\0").decode() for m in messages if m.tag == "C"]


def _columns(body: bytes) -> tuple[str | None, ...]:
    (count,), position = struct.unpack_from("!H", body), 2
    columns: list[str | None] = []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        columns.append(None if length < 0 else body[position : position + length].decode())
        position += max(0, length)
    return tuple(columns)


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.reader: Final = reader
        self.writer: Final = writer
        self.port: Final = port
        self._splitter = FrameSplitter(max_body=2**30)
        self._ready: list[Message] = []
        self.pid = 0
        self.key = b""

    @classmethod
    async def dial(cls, port: int) -> "Raw":
        """Connect, and say nothing yet."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), port)

    def send(self, data: bytes) -> None:
        """Write, all at once. To a connection that has ended: nothing, as the next read tells."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def dribble(self, data: bytes) -> None:
        """Write byte by byte, each in a packet of its own."""
        for position in range(len(data)):
            self.writer.write(data[position : position + 1])
            await self.writer.drain()
            await asyncio.sleep(0)

    async def receive(self) -> Message | None:
        """The next message; None at the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            while not self._ready:
                try:
                    data = await self.reader.read(1 << 20)
                except (ConnectionResetError, BrokenPipeError):
                    data = b""
                if not data:
                    return None
                self._ready += [Message(chr(tag), body) for tag, body in self._splitter.feed(data)]
        return self._ready.pop(0)

    async def until(self, last: str = "Z", times: int = 1) -> list[Message]:
        """Everything up to the *times*-th message with a tag of *last*, or to the end of the stream."""
        got: list[Message] = []
        while times:
            received = await self.receive()
            if received is None:
                break
            got.append(received)
            times -= received.tag in last
        return got

    async def until_closed(self) -> list[Message]:
        """Everything up to the end of the stream."""
        got: list[Message] = []
        while (received := await self.receive()) is not None:
            got.append(received)
        return got

    async def ask(self, *sent: bytes, times: int = 1) -> list[Message]:
        """Send in one write, and read up to the *times*-th ReadyForQuery."""
        self.send(b"".join(sent))
        return await self.until("Z", times)

    async def log_in(self, parameters: Mapping[str, str], *, minor: int = 0) -> list[Message]:
        """Say who we are, and read the greeting, up to ReadyForQuery or the end."""
        self.send(startup.startup_packet(parameters, minor=minor))
        greeting = await self.until()
        for received in greeting:
            if received.tag == "K":
                self.pid, self.key = int.from_bytes(received.body[:4], "big", signed=True), received.body[4:]
        return greeting

    async def cancel(self, key: bytes | None = None) -> bytes:
        """Send a CancelRequest on a connection of its own; what is answered (nothing)."""
        other = await Raw.dial(self.port)
        other.send(startup.cancel_request(self.pid, self.key if key is None else key))
        async with asyncio.timeout(PATIENCE):
            answer = await other.reader.read()
        await other.end()
        return answer

    def reset(self) -> None:
        """Go as a process that is killed does: what has not been read yet becomes a RST."""
        self.writer.transport.abort()

    async def end(self) -> None:
        """Close the socket, without a word."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(
    port: int, database: str, *, minor: int = 0, user: str = "postgres", **parameters: str
) -> AsyncIterator[Raw]:
    """A client that is logged in."""
    raw = await Raw.dial(port)
    try:
        greeting = await raw.log_in({"user": user, "database": database, **parameters}, minor=minor)
        assert greeting[-1].tag == "Z", greeting
        yield raw
    finally:
        await raw.end()
