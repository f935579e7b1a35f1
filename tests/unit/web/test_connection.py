"""One connection, two ways to an answer: never out of order, never a wrong boundary, whatever a client sends."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from poolguard.aio.clock import SystemClock
from poolguard.web.bodies import read_bodies
from poolguard.web.connection import Connection, body_to_come
from poolguard.web.server import WebServer

QUICK = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
QUICK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick"
ANSWER = re.compile(rb"HTTP/1\.[01] (?:[^\r]+\r\n)+?Content-Length: ([0-9]+)\r\n(?:[^\r]+\r\n)*\r\n")


def quick(data: bytes) -> bytes | None:
    return QUICK_ANSWER if data == QUICK else None


IDLE_SECONDS = 60.0


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.news = asyncio.Event()
        self.high: int | None = None
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.news.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.news.set()

    async def answer(self) -> str:
        """The body of the next answer."""
        while not (found := ANSWER.match(self.written)):
            self.news.clear()
            await self.news.wait()
        length = int(found[1])
        body = self.written[found.end() : found.end() + length].decode()
        del self.written[: found.end() + length]
        return body


class Door:
    """What aiohttp would answer: `long` and how many bytes the body had. Its shortcut knows one request."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.app = web.Application(middlewares=[read_bodies()])
        self.app.router.add_route("*", "/{path}", self._long)

    async def _long(self, request: web.Request) -> web.Response:
        await self.go_on.wait()
        return web.Response(text=f"long{len(await request.read())}")


class Caller:
    """A client whose chunks arrive as they were sent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.pipe = Pipe()
        connection.connection_made(self.pipe)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    async def ask(self, *chunks: bytes) -> str:
        for chunk in chunks:
            self.send(chunk)
        return await self.pipe.answer()


@pytest.fixture
async def door() -> Door:
    return Door()


@asynccontextmanager
async def calling(door: Door) -> AsyncIterator[Caller]:
    runner = web.AppRunner(door.app)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    yield Caller(Connection(runner.server, quick, loop=loop, keepalive_timeout=IDLE_SECONDS))
    await runner.cleanup()


@pytest.fixture
async def caller(door: Door) -> AsyncIterator[Caller]:
    async with calling(door) as made:
        yield made


async def test_both_ways_take_turns_on_one_connection(caller: Caller) -> None:
    """Also after a body that comes apart from its head, as Python's own client sends it."""
    assert [await caller.ask(data) for data in (QUICK, QUICK, LONG, QUICK)] == ["quick", "quick", "long0", "quick"]
    assert [await caller.ask(POST + b"12345"), await caller.ask(QUICK)] == ["long5", "quick"]
    assert [await caller.ask(POST, b"123", b"45"), await caller.ask(QUICK)] == ["long5", "quick"]


async def test_the_short_way_takes_no_turn_of_the_loop(caller: Caller) -> None:
    await caller.ask(LONG)
    caller.send(QUICK)
    assert caller.pipe.written == QUICK_ANSWER


def test_nothing_waits_in_the_transport_for_the_end_of_the_turn(caller: Caller) -> None:
    """uvloop writes at once what is above this limit."""
    assert caller.pipe.high == 0


async def test_an_answer_never_overtakes_an_earlier_one(door: Door, caller: Caller) -> None:
    door.go_on.clear()
    caller.send(LONG)
    caller.send(QUICK)
    door.go_on.set()
    assert await caller.pipe.answer() == "long0"
    assert await caller.pipe.answer() == "long0", "a request that came too soon goes the way of the one before"
    assert await caller.ask(QUICK) == "long0", "and so do all after it"


async def test_what_looks_like_a_request_in_the_middle_of_one_is_none(caller: Caller) -> None:
    begun = b"POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(QUICK) + 1)
    assert await caller.ask(begun, QUICK, b"!") == f"long{len(QUICK) + 1}"
    assert await caller.ask(QUICK) == "quick"


@pytest.mark.parametrize(
    "chunks",
    [
        [LONG + LONG[:10], LONG[10:]],
        [LONG + QUICK],
        [QUICK[:10], QUICK[10:]],
        [POST, b"12345" + LONG],
        [b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"],
    ],
)
async def test_after_a_boundary_that_could_not_be_seen_aiohttp_answers_alone(
    caller: Caller, chunks: list[bytes]
) -> None:
    assert (await caller.ask(*chunks)).startswith("long")
    caller.send(LONG)
    caller.send(QUICK)
    for _ in range(2):
        assert await caller.pipe.answer() == "long0"


async def test_a_client_that_reads_no_answers_is_answered_by_aiohttp_which_waits_for_it(caller: Caller) -> None:
    caller.connection.pause_writing()
    caller.send(QUICK)
    assert not caller.pipe.written
    caller.connection.resume_writing()
    assert await caller.pipe.answer() == "long0"


@pytest.mark.parametrize("last", [b"\r\nConnection: close\r\n\r\n", b"\r\n: \r\n\r\n"])
async def test_a_connection_that_is_to_be_closed_is_asked_nothing_more(caller: Caller, last: bytes) -> None:
    await caller.ask(LONG.replace(b"\r\n\r\n", last))
    caller.send(QUICK)
    assert not caller.pipe.written


async def test_a_connection_that_asks_is_not_idle_until_it_asks_no_more(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp counts only the requests that it has seen."""
    loop = asyncio.get_running_loop()
    began = now = loop.time()
    timers: list[tuple[float, Callable[[], object]]] = []

    def call_at(when: float, told: Callable[[], object]) -> asyncio.TimerHandle:
        timers.append((when, told))
        return asyncio.TimerHandle(when, told, (), loop)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", call_at)
        patch.setattr(loop, "time", lambda: now)
        async with calling(door) as caller:
            await caller.ask(LONG)
            for _ in range(5):
                await asyncio.sleep(0)  # aiohttp's task goes back to where it waits for a request
            now = began + IDLE_SECONDS - 1.0
            await caller.ask(QUICK)
            (due, look), now = timers[0], began + IDLE_SECONDS
            look()
            assert (due, caller.pipe.closed) == (began + IDLE_SECONDS, False)
            due, look = timers[1]
            assert due == began + 2 * IDLE_SECONDS - 1.0
            now = due
            look()
            assert caller.pipe.closed


async def test_over_a_socket_too(loop_kind: str) -> None:
    server = WebServer("control", lambda: Door().app, SystemClock(), host="127.0.0.1", port=0, shortcut=quick)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):
        writer.write(QUICK)
        assert await reader.readexactly(len(QUICK_ANSWER)) == QUICK_ANSWER
        writer.write(LONG)
        assert (await reader.readuntil(b"long0")).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    await server.stop()
    assert loop_kind


@pytest.mark.parametrize(
    ("data", "lacking"),
    [
        (LONG, 0),
        (LONG + b"x", -1),
        (POST, 5),
        (POST + b"123", 2),
        (POST.lower() + b"12345", 0),
        (LONG[:-1], None),
        (POST.replace(b"5\r\n", b"5\r\nContent-Length: 5\r\n"), None),
        (POST.replace(b"5\r\n", b"5, 5\r\n"), None),
        (POST.replace(b"5\r\n", b"+5\r\n"), None),
        (POST.replace(b"5\r\n", b"5\r\nTransfer-Encoding: chunked\r\n"), None),
        (LONG.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n"), None),
    ],
)
def test_what_a_body_lacks_is_counted_or_unknown(data: bytes, lacking: int | None) -> None:
    assert body_to_come(data) == lacking
