"""A relay in one process: sessions and a pool with fake transports, and fake PostgreSQLs behind it.

Nothing is sent anywhere: what a client says is given to its session at once, what a fake PostgreSQL answers comes at
the loop's next turn, in pieces as the test cuts it. `House.rest` waits until nothing moves any more.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from poolguard.aio.clock import SystemClock
from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import UpstreamUnavailable
from poolguard.core.ids import ServerId
from poolguard.ledger.book import Ledger
from poolguard.ledger.facts import Transaction
from poolguard.pool.pool import Pool
from poolguard.pool.state import Refusal
from poolguard.relay.cancels import Cancels
from poolguard.relay.counters import RelayCounters
from poolguard.relay.laned import LanedSession
from poolguard.relay.parameters import parameter_set
from poolguard.relay.retrying import RetryingSession
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.relay.state import Surroundings
from poolguard.relay.statements import Catalogue
from poolguard.settings.model import Limits
from poolguard.settings.model import Pool as PoolSettings
from poolguard.upstream.link import Link
from poolguard.wire.framing import FrameSplitter
from tests.support.fakepg import GREETING, FakePostgres

Cut = Callable[[bytes], Iterable[bytes]]
TURNS = 10_000


def whole(data: bytes) -> Iterator[bytes]:
    """Do not cut."""
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """Cut behind every byte."""
    return (data[at : at + 1] for at in range(len(data)))


class FakeTransport(asyncio.Transport):
    """Keeps what is written, or gives it to *sink*; closes as a real one does, at a later turn of the loop."""

    def __init__(self, sink: Callable[[bytes], None] | None = None) -> None:
        super().__init__()
        self.written = bytearray()
        self.sink = sink
        self.paused = False
        self.closing = False
        self.aborted = False
        self.stuck = False
        """The other end does not read: what is written stays in the buffer."""
        self.buffer = bytearray()
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast("asyncio.BaseProtocol", self.protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return not self.paused and not self.closing

    def is_paused(self) -> bool:
        """Whether nothing is read from it now."""
        return self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.aborted, "written after abort"
        if self.stuck:
            first = not self.buffer
            self.buffer += data
            if first:
                self.protocol.pause_writing()
        else:
            self._out(bytes(data))

    def _out(self, data: bytes) -> None:
        self.written += data
        if self.sink is not None:
            self.sink(data)

    def flow(self) -> None:
        """The other end reads again."""
        self.stuck = False
        if self.buffer:
            data = bytes(self.buffer)
            self.buffer.clear()
            self._out(data)
            self.protocol.resume_writing()

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self.aborted = True
        self._end()

    def _end(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Upstream:
    """One server's other end: a fake PostgreSQL and the way back."""

    def __init__(self, house: "House", postgres: FakePostgres) -> None:
        self.postgres = postgres
        self.transport = FakeTransport(self._heard)
        self._house = house
        self._queue = bytearray()
        self.silent = False
        """Nothing is answered until the test clears it and calls `speak`."""
        self._scheduled = False
        self.server: Server | None = None

    def _heard(self, data: bytes) -> None:
        if not self.postgres.closed:
            self.answer(self.postgres.feed(data))

    def answer(self, data: bytes) -> None:
        """Say *data*, when the loop turns."""
        self._queue += data
        self.speak()

    def discard(self) -> None:
        """Never say what was to be said."""
        self._queue.clear()

    def take(self) -> bytes:
        """What was to be said, for the test to say as it likes."""
        data = bytes(self._queue)
        self._queue.clear()
        return data

    def speak(self) -> None:
        """Let out what is to be said."""
        if not self.silent and not self._scheduled and (self._queue or self.postgres.closed):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._say)

    def _say(self) -> None:
        self._scheduled = False
        data = bytes(self._queue)
        self._queue.clear()
        for piece in self._house.cut_server(data):
            if piece and not self.transport.closing:
                self.transport.protocol.data_received(piece)
        if self.postgres.closed and not self.transport.closing:
            self.lose()

    def lose(self) -> None:
        """The connection breaks, without a word."""
        if not self.transport.closing:
            self.transport.closing = True
            self.transport.protocol.connection_lost(None)

    @property
    def moves(self) -> bool:
        return self._scheduled


class Client:
    """A client of the relay, and what it has been told."""

    def __init__(self, house: "House", session: Session, transport: FakeTransport) -> None:
        self.session = session
        self.transport = transport
        self._house = house

    def say(self, data: bytes, cut: Cut | None = None) -> None:
        """Send *data*, cut into chunks."""
        for piece in (cut or self._house.cut_client)(data):
            if piece and not self.transport.closing:
                self.session.data_received(piece)

    async def ask(self, data: bytes) -> bytes:
        """Send *data*, wait until nothing moves; what came in answer."""
        heard = len(self.transport.written)
        self.say(data)
        await self._house.rest()
        return bytes(self.transport.written[heard:])

    def cancel(self) -> "asyncio.Task[None]":
        """Ask for the end of what it waits for or runs, by its key; done when that connection is closed."""
        return self._house.tasks.spawn(self._house.requests.ask(self.session), name="a cancel request")

    def go(self) -> None:
        """Vanish without a goodbye."""
        if not self.transport.closing:
            self.transport.closing = True
            self.session.connection_lost(None)

    @property
    def heard(self) -> bytes:
        return bytes(self.transport.written)


class House:
    """A pool, its servers and its sessions. Make it inside of a running loop."""

    def __init__(self, *, size: int = 1, limits: Limits | None = None, **settings: Any) -> None:
        self.ledger = Ledger()
        self.counters = RelayCounters()
        self.failures: list[BaseException] = []
        self.tasks = TaskOwner(lambda _name, error: self.failures.append(error))
        self.requests = Cancels(self.tasks, (limits or Limits()).max_cancels)
        self.upstreams: list[Upstream] = []
        self.cut_client: Cut = whole
        self.cut_server: Cut = whole
        self.starved: list[tuple[Refusal, list[Transaction]]] = []
        self.errors: list[dict[str, str]] = []
        """Those that have a culprit."""
        self.unreachable = False
        self.cancels: list[int] = []
        self.cancel_gate: asyncio.Event | None = None
        """Set by a test that wants a cancel connection to stay open until it says so."""
        self.pool: Pool[Server] = Pool(
            "app",
            replace(PoolSettings(size=size, max_lifetime=0.0), **settings),
            opener=self._open,
            clock=SystemClock(),
            tasks=self.tasks,
        )
        self.catalogue = Catalogue()
        self.around = Surroundings(
            ledger=self.ledger,
            counters=self.counters,
            tasks=self.tasks,
            limits=lambda: limits or Limits(),
            on_starved=lambda _entry, _waited, reason, holders: self.starved.append((reason, holders)),
            on_error=lambda _entry, fields: self.errors.append(dict(fields)),
            on_closed=lambda session: self.gone.append(session),
            on_restructured=self.catalogue.forget,
        )
        self.gone: list[Session] = []

    async def _open(self) -> Server:
        if self.unreachable:
            raise UpstreamUnavailable("PostgreSQL does not answer")
        upstream = Upstream(self, FakePostgres(pid=len(self.upstreams) + 1))
        self.upstreams.append(upstream)
        link = SimpleNamespace(
            backend_pid=upstream.postgres.pid, parameters=dict(GREETING), tls=True, transport=upstream.transport
        )
        upstream.server = Server(
            ServerId(upstream.postgres.pid), cast("Link", link), self.pool, self.counters, self._cancel
        )
        return upstream.server

    async def _cancel(self, link: Link) -> None:
        self.cancels.append(link.backend_pid)
        if self.cancel_gate is not None:
            await self.cancel_gate.wait()
        upstream = self.upstreams[link.backend_pid - 1]
        if not upstream.postgres.closed:
            upstream.answer(upstream.postgres.cancel())

    @property
    def postgres(self) -> FakePostgres:
        """The only backend, or the first."""
        return self.upstreams[0].postgres

    def client(self, name: str = "shop", **parameters: str) -> Client:
        """A client that has logged in with *parameters*; the ledger has it by *name*."""
        entry = self.ledger.open_session(client_address=f"10.0.0.{len(self.ledger.sessions) + 1}:4000", now=0.0)
        entry.application_name, entry.user, entry.pool = name, "app", "app"
        transport = FakeTransport()
        kind: type[Session] = LanedSession if self.pool.settings.lanes else Session
        if self.pool.settings.retry is not None:
            kind = RetryingSession
        session = kind(
            transport=transport,
            entry=entry,
            pool=self.pool,
            catalogue=self.catalogue,
            wanted=parameter_set(parameters),
            around=self.around,
        )
        return Client(self, session, transport)

    async def rest(self) -> None:
        """Wait until nothing moves: no answer is on its way, no task can go on by itself."""
        quiet = 0
        for _ in range(TURNS):
            moving = any(upstream.moves for upstream in self.upstreams)
            quiet = 0 if moving else quiet + 1
            if quiet > 12:
                return
            await asyncio.sleep(0)
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        """Assert that the books agree: pool, ledger and sessions."""
        self.pool.state.check()
        assert not self.failures, self.failures
        held_by_sessions = self.pool.state.held
        for entry in self.ledger.holders.values():
            assert entry.backend_pid in {server.backend_pid for server in held_by_sessions}, "held, but not in the pool"
        for upstream in self.upstreams:
            server = upstream.server
            assert server is not None
            if upstream.transport.closing:
                assert server not in self.pool.state.held, "a server that is gone is held"

    def check_at_rest(self) -> None:
        """Assert also that nobody holds or wants anything."""
        self.check()
        assert not self.ledger.holders
        assert not self.pool.state.held
        assert not self.pool.state.waiting
        for upstream in self.upstreams:
            if not upstream.transport.closing:
                assert upstream.postgres.status == "I"
                assert upstream.server is None or not upstream.server.replies

    async def close(self) -> None:
        """End everything."""
        self.pool.stop()
        await self.tasks.close()


def tags(data: bytes) -> str:
    """The message types in *data*, ReadyForQuery with its status: `CZi`."""
    frames = FrameSplitter(max_body=2**30)
    found = "".join("Z" + body.decode().lower() if tag == b"Z"[0] else chr(tag) for tag, body in frames.feed(data))
    assert not frames.rest(), "half a message at the end"
    return found


def sqlstates(data: bytes) -> list[str]:
    """The SQLSTATE of each ErrorResponse in *data*."""
    return [fields["C"] for fields in errors(data)]


def errors(data: bytes) -> list[dict[str, str]]:
    """The fields of each ErrorResponse in *data*."""
    frames = FrameSplitter(max_body=2**30).feed(data)
    return [
        {chr(part[0]): part[1:].decode() for part in body.rstrip(b"\0").split(b"\0")}
        for tag, body in frames
        if tag == b"E"[0]
    ]
