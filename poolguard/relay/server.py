"""One connection to PostgreSQL, between guests: made clean, lent out, cancelled, closed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from poolguard.core.errors import PoolguardError, ServerLost
from poolguard.core.ids import ServerId
from poolguard.pool.pool import Pool
from poolguard.pool.snapshot import CloseReason
from poolguard.relay import parameters
from poolguard.relay.counters import RelayCounters
from poolguard.relay.parameters import ParameterSet
from poolguard.relay.pipe import BATCH, PASS, SIMPLE, SYNC, ServerPipe
from poolguard.relay.statements import Known
from poolguard.upstream.link import Link
from poolguard.upstream.reset import CloseIt, Status, Used, plan_reset
from poolguard.wire import messages

log = logging.getLogger(__name__)

CLEANING_SECONDS: Final = 5.0
"""How long a server may take to end what its last guest left, before it is closed instead."""

_PARAMETER, _ERROR, _COPY_IN = b"SEG"
_UNASKED: Final = b"NSA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How a guest leaves its server."""

    unsynced: bool = False
    """Extended messages were sent without Sync."""
    copying: bool = False
    """In the middle of COPY FROM STDIN."""
    session_state: bool = False
    """Something outlives the transaction, or nobody looked (session mode)."""
    advisory_lock: bool = False
    """A session advisory lock may be held."""
    client_vanished: bool = False
    """It went without a goodbye."""
    patience: float = 0.0
    """Seconds that what runs may go on before it is cancelled."""


class Nobody:
    """The guest of a server at rest. PostgreSQL may tell notices and parameters; anything else is noise."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def deliver(self, data: bytes) -> None:
        """Nobody is there to read it."""
        if data[0] not in _UNASKED and not self._server.fatal:
            self._server.discard(CloseReason.NOISE)

    def settled(self, status: int, now: float) -> None:
        """Nothing was owed."""

    def copy_in_started(self) -> None:
        """Nothing was asked."""

    def copy_failed(self) -> None:
        """Nothing was asked."""

    def parameter_changed(self, name: str, value: str) -> None:
        """A reload of PostgreSQL's own settings; the server is as good as before."""

    def server_lost(self, error: PoolguardError | None) -> None:
        """Nobody is hurt."""

    def server_congested(self, *, congested: bool) -> None:
        """Nobody writes."""


class Janitor(Nobody):
    """poolguard itself as a guest: waits until all that is owed has come, and reads nothing but errors."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._settled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.error: dict[str, str] | None = None

    def deliver(self, data: bytes) -> None:
        """What the last guest will not read any more."""

    def settled(self, status: int, now: float) -> None:
        """All has come."""
        if not self._settled.done():
            self._settled.set_result(status)

    def copy_in_started(self) -> None:
        """A COPY that nobody will feed."""
        self._server.write(messages.copy_fail("the client has gone"))

    def server_lost(self, error: PoolguardError | None) -> None:
        """Nothing more will come."""
        if not self._settled.done():
            self._settled.set_exception(error or ServerLost("PostgreSQL closed the connection"))

    async def wait(self, seconds: float) -> int:
        """The last status byte. Raises PoolguardError, or TimeoutError after *seconds*."""
        async with asyncio.timeout(seconds):
            return await self._settled


class Server(ServerPipe):
    """A server of one pool."""

    __slots__ = (
        "_cancels_done",
        "_send_cancel",
        "applied",
        "backend_pid",
        "cancels",
        "closed",
        "counters",
        "dies_at",
        "fatal",
        "forget_statements",
        "id",
        "known",
        "link",
        "nobody",
        "parameters",
        "pool",
        "unnamed",
    )

    def __init__(
        self,
        server_id: ServerId,
        link: Link,
        pool: "Pool[Server]",
        counters: RelayCounters,
        send_cancel: Callable[[Link], Awaitable[None]],
    ) -> None:
        super().__init__(link.transport, tls=link.tls)
        self.id = server_id
        self.link = link
        self.backend_pid = link.backend_pid
        self.pool = pool
        self.counters = counters
        self.dies_at = float("inf")
        self.parameters = dict(link.parameters)
        self.applied: ParameterSet | None = parameters.NONE
        """What the last guest left; None: not known, so that the next one resets everything."""
        self.known = Known(pool.settings.prepared_statements)
        self.unnamed: object = None
        """The session whose unnamed statement this server holds."""
        self.forget_statements = False
        self.fatal = False
        self.closed = False
        self.cancels = 0
        """Cancel requests under way: until each has been closed by PostgreSQL, it could hit the next guest."""
        self._cancels_done: asyncio.Event = asyncio.Event()
        self._send_cancel = send_cancel
        self.nobody = Nobody(self)
        self.guest = self.nobody
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    # What the transport calls.

    def connection_lost(self, exc: Exception | None) -> None:
        """PostgreSQL or the network ended it, or we did."""
        self.fd = -1
        if self.closed:
            self.guest.server_lost(None)
            return
        self.closed = True
        guest, self.guest = self.guest, self.nobody
        self.pool.lost(self, CloseReason.LOST)
        told = self.fatal
        guest.server_lost(
            None
            if told
            else ServerLost(
                "the connection to PostgreSQL broke; the outcome of what was running is not known",
                hint="Connect again, and check what was committed before you repeat it.",
            )
        )

    def eof_received(self) -> bool:
        """PostgreSQL never half-closes."""
        return False

    def pause_writing(self) -> None:
        """PostgreSQL does not read."""
        self.guest.server_congested(congested=True)

    def resume_writing(self) -> None:
        """PostgreSQL reads again."""
        self.guest.server_congested(congested=False)

    # What the pipe calls.

    def watch(self, tag: int, body: bytes, *, swallowing: bool) -> None:
        """Follow parameters, count errors, notice last words."""
        if tag == _PARAMETER:
            name, value = messages.parameter_of(body)
            self.parameters[name] = value
            if not swallowing and name.lower() in parameters.TRACKED:
                self.guest.parameter_changed(name, value)
        elif tag == _ERROR:
            self._saw_error(messages.error_fields(body), swallowing=swallowing)
        elif tag == _COPY_IN and not swallowing:
            # In COPY PostgreSQL ignores Sync (docs, 55.2.7): those sent behind Execute get no reply.
            if self.replies and self.replies[0] is not SIMPLE:
                kept = [PASS if owed is BATCH else owed for owed in self.replies if owed is not SYNC]
                self.replies.clear()
                self.replies.extend(kept)
            self.guest.copy_in_started()

    def _saw_error(self, fields: dict[str, str], *, swallowing: bool) -> None:
        code = fields.get("C", "XX000")
        self.counters.count_error(self.pool.name, code)
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            self.fatal = True
        if code == "0A000":
            # "cached plan must not change result type": prepare everything anew, so that a retry heals.
            self.forget_statements = True
        self.guest.copy_failed()
        if isinstance(self.guest, Janitor):
            self.guest.error = fields
        elif swallowing:
            log.error(
                "a statement of poolguard's own failed; the server is closed",
                extra={"pool": self.pool.name, "backend_pid": self.backend_pid, "sqlstate": code},
            )
            self.discard(CloseReason.DIRTY)

    # Between guests.

    def discard(self, reason: CloseReason) -> None:
        """Leave the pool and close."""
        guest, self.guest = self.guest, self.nobody
        self.pool.discard(self, reason)
        guest.server_lost(ServerLost("poolguard closed the connection to PostgreSQL"))

    def close(self, reason: CloseReason) -> None:
        """End the connection as a client would. The pool calls this; others call discard."""
        if not self.closed:
            self.closed = True
            log.debug("server closed", extra={"backend_pid": self.backend_pid, "reason": reason.value})
            self.fd = -1
            self.transport.write(messages.TERMINATE)
            self.transport.close()

    async def run(self, sql: str, seconds: float = CLEANING_SECONDS) -> dict[str, str] | None:
        """Run *sql* for poolguard itself, on a server without a guest; the error's fields, or None for success."""
        janitor = Janitor(self)
        self.guest = janitor
        self.replies.append(SIMPLE)
        self.write(messages.query(sql))
        try:
            await janitor.wait(seconds)
        finally:
            self.guest = self.nobody
        return janitor.error

    async def cancel(self) -> None:
        """Ask PostgreSQL to end what runs. Returns when it has closed the cancel connection."""
        self.cancels += 1
        self._cancels_done.clear()
        try:
            await self._send_cancel(self.link)
        finally:
            self.cancels -= 1
            if not self.cancels:
                self._cancels_done.set()

    async def clean(self, left: "Left | None" = None) -> bool:
        """End what the last guest left, and give the server back; False if it had to be closed instead.

        The server must have no guest any more.
        """
        left = left or Left()
        try:
            if left.patience and self.replies:
                await self._let_finish(left.patience)
            async with asyncio.timeout(CLEANING_SECONDS):
                await self._end_what_runs(unsynced=left.unsynced, copying=left.copying)
                if self.cancels:
                    await self._cancels_done.wait()
                await self._reset(left)
        except (PoolguardError, OSError, TimeoutError) as error:
            if not self.closed:
                log.warning(
                    "a server could not be made clean and is closed",
                    extra={"pool": self.pool.name, "backend_pid": self.backend_pid, "reason": str(error) or "time"},
                )
                self.discard(CloseReason.DIRTY)
            return False
        except BaseException:
            if not self.closed:
                self.discard(CloseReason.DIRTY)
            raise
        if self.closed:
            return False
        self.unnamed = None
        self.pool.give_back(self, monotonic())
        return True

    async def _reset(self, left: "Left") -> None:
        plan = plan_reset(
            Used(
                status=Status(chr(self.status)),
                session_state=left.session_state,
                advisory_lock=left.advisory_lock,
                client_vanished=left.client_vanished,
            )
        )
        if isinstance(plan, CloseIt):
            raise ServerLost(plan.reason.value)
        for statement in plan.statements:
            self._must_succeed(await self.run(statement))
        if plan.forgets_statements:
            self.applied = parameters.NONE
            self.known.clear()
        elif self.forget_statements:
            self._must_succeed(await self.run("DEALLOCATE ALL"))
            self.known.clear()
        self.forget_statements = False

    async def quiet(self, seconds: float) -> None:
        """Wait until nothing is owed any more. Raises TimeoutError after *seconds*."""
        if not self.replies:
            return
        janitor = Janitor(self)
        self.guest = janitor
        try:
            await janitor.wait(seconds)
        finally:
            self.guest = self.nobody

    async def _let_finish(self, seconds: float) -> None:
        try:
            await self.quiet(seconds)
        except TimeoutError:
            log.info("a statement outlived its client and is cancelled", extra={"backend_pid": self.backend_pid})

    async def _end_what_runs(self, *, unsynced: bool, copying: bool) -> None:
        if not self.replies and not unsynced and not copying:
            return
        janitor = Janitor(self)
        self.guest = janitor
        if copying:
            self.write(messages.copy_fail("the client has gone"))
        if unsynced or self.skipping or (copying and PASS in self.replies):
            self.write(messages.SYNC)
            self.replies.append(SYNC)
            self.skipping = False
        await self.cancel()
        try:
            if self.replies:
                await janitor.wait(CLEANING_SECONDS)
        finally:
            self.guest = self.nobody

    def _must_succeed(self, error: dict[str, str] | None) -> None:
        if error is not None:
            raise ServerLost(f"resetting failed with {error.get('C', 'XX000')}")
