"""One connection to PostgreSQL, between guests: made clean, lent out, cancelled, closed."""

import asyncio
import contextlib
import logging
import select
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from poolguard.core.errors import PoolguardError, ServerLost
from poolguard.core.ids import ServerId
from poolguard.pool.pool import Pool
from poolguard.pool.snapshot import CloseReason
from poolguard.relay import parameters
from poolguard.relay.copying import in_copy
from poolguard.relay.counters import RelayCounters
from poolguard.relay.guests import Janitor, Left, Nobody
from poolguard.relay.parameters import ParameterSet
from poolguard.relay.pipe import PASS, SIMPLE, SWALLOW, SYNC, ServerPipe
from poolguard.relay.statements import NOWHERE, PREFIX, Known, in_words_of
from poolguard.upstream.link import Link
from poolguard.upstream.reset import CloseIt, Status, Used, plan_reset
from poolguard.wire import messages

log = logging.getLogger(__name__)

CLEANING_SECONDS: Final = 5.0
"""How long a server may take to end what its last guest left, before it is closed instead."""

CANCEL_AGAIN_SECONDS: Final = 0.2
"""How long a cancelled statement may take to end before it is cancelled again."""

OWN_SECONDS: Final = 2.0
OWN_PAUSE: Final = 0.001
"""How long a cancel waits for a statement of poolguard's own to end, and how often it looks."""

_PARAMETER, _ERROR, _COPY_IN, _READY = b"SEGZ"
_ABORTED: Final = "25P02"
_READ_ONLY: Final = "25006"
_MISNAMED: Final = ("26000", "42P05")
_REVALIDATION: Final = "RevalidateCachedQuery"
"""Where PostgreSQL says `cached plan must not change result type`, in whatever language; 0A000 has other meanings."""


_GONE: Final = "cache lookup failed for "
"""XX000, never translated: a type or function is gone that a statement was prepared with."""


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
        "doubtful",
        "fatal",
        "forget_statements",
        "id",
        "known",
        "last",
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
        self.doubtful = False
        """ReadyForQuerys may come although nothing owes them; see `doubts`."""
        self.parameters = dict(link.parameters)
        self.applied: ParameterSet | None = parameters.NONE
        """What the last guest left; None: not known, so that the next one resets everything."""
        self.known = Known(pool.settings.prepared_statements)
        self.unnamed: bytes | None = None
        """The Parse of the unnamed statement that this server holds, if it is known; by identity, a session's own."""
        self.last: object = None
        """The ledger's entry of the session that held it last."""
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

    @property
    def read_only(self) -> bool:
        """See pool.PooledServer; PostgreSQL reports both since version 14."""
        own = self.link.parameters.get("default_transaction_read_only")  # at login: later it may be a client's SET
        return self.parameters.get("in_hot_standby") == "on" or own == "on"

    @property
    def silent(self) -> bool:
        """See pool.PooledServer. Of TLS nothing is owed either, so what can be read is the end, or noise."""
        sock = self.transport.get_extra_info("socket")
        if sock is None:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    # What the pipe calls.

    def watch(self, tag: int, body: bytes, *, swallowing: bool) -> bytes | None:
        """Follow parameters, count errors, notice last words."""
        if tag == _PARAMETER:
            name, value = messages.parameter_of(body)
            instead = None
            if swallowing:
                self.guest.parameter_given(name, value)
            else:
                instead = self.guest.parameter_changed(name, value)
            self.parameters[name] = value  # last: the guest may ask for what it was
            return instead
        if tag == _ERROR:
            self._saw_error(messages.error_fields(body), swallowing=swallowing)
            if PREFIX in body:
                return messages.message(b"E", in_words_of(self.guest.name_of, body))
        elif tag == _READY:
            return self._unasked()
        elif tag == _COPY_IN and not swallowing:
            self._copy_in()
        return None

    def _copy_in(self) -> None:
        """In COPY PostgreSQL ignores Sync (docs, 55.2.7): those sent before the data's end get no reply."""
        copy = in_copy(self.replies)
        self.replies.clear()
        self.replies.extend(copy.owed)
        self.guest.copy_in_started(ended=copy.ended, synced=copy.synced, postponed=copy.postponed)
        if copy.doubtful:
            self.doubts()

    def doubts(self) -> None:
        """A Sync was sent in COPY, behind data: PostgreSQL ignores it, or answers it and what was sent behind it."""
        self.doubtful = True
        self.dies_at = 0.0  # an answer that comes late must not meet another guest
        self.guest.tangled()

    def _unasked(self) -> bytes | None:
        """A ReadyForQuery that nothing asked for, unless it is that of such a Sync."""
        if not self.doubtful:
            self.violated("ReadyForQuery that nothing asked for")
            return None
        self.skipping = False
        self.guest.synced()
        return b""

    def _saw_error(self, fields: dict[str, str], *, swallowing: bool) -> None:
        code = fields.get("C", "XX000")
        self.counters.count_error(self.pool.name, code)
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            self.fatal = True
        said = fields.get("M", "")
        if (code == "0A000" and fields.get("R", _REVALIDATION) == _REVALIDATION) or said.startswith(_GONE):
            self.guest.plan_changed()
        if code in _MISNAMED and PREFIX.decode() in said and NOWHERE.decode() not in said:
            # A name of ours that PostgreSQL has not, or has against expectation: prepare everything anew.
            self.forget_statements = True
        if code == _READ_ONLY and self.read_only:
            self.pool.turned_read_only(monotonic())
        self.guest.erred(fields)
        if isinstance(self.guest, Janitor):
            self.guest.error = fields
            if swallowing:
                self.applied = None  # what failed may have been the last guest's parameters
        elif swallowing and code == _ABORTED:
            self.applied = None  # behind a RESET that failed, in a transaction that fails: nothing was done
        elif swallowing:
            if not self.fatal:
                log.error(
                    "a statement of poolguard's own failed; the server is closed",
                    extra={"pool": self.pool.name, "backend_pid": self.backend_pid, "sqlstate": code},
                )
            self.discard(CloseReason.LOST if self.fatal else CloseReason.DIRTY)

    # Between guests.

    def discard(self, reason: CloseReason) -> None:
        """Leave the pool and close. Safe to repeat."""
        if self.closed:
            return
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
        self.unnamed = None
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
            async with asyncio.timeout(OWN_SECONDS):
                while self.replies and self.replies[0] is SWALLOW and not self.closed:  # noqa: ASYNC110 - see below
                    # It would end the BEGIN or SET that poolguard itself has sent ahead, and the guest's statement
                    # behind it would run without. Too rare and too short for an event on the hot path.
                    await asyncio.sleep(OWN_PAUSE)
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
        if not self._alive():
            return False
        try:
            if left.patience and self.replies and not left.unsynced and not left.copying:
                await self._let_finish(left.patience)
            async with asyncio.timeout(CLEANING_SECONDS):
                await self.end_what_runs(unsynced=left.unsynced, copying=left.copying)
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
        if not self._alive():
            return False
        self.guest = self.nobody
        self.pool.give_back(self, monotonic())
        return True

    def _alive(self) -> bool:
        return not self.closed

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
            log.info(
                "a statement outlived its client and is cancelled",
                extra={"pool": self.pool.name, "backend_pid": self.backend_pid},
            )

    def vacate(self) -> None:
        """The guest has gone: what still comes for it is nobody's, until `clean` or `discard`."""
        self.guest = Janitor(self)

    async def end_what_runs(self, *, unsynced: bool, copying: bool, seconds: float = CLEANING_SECONDS) -> None:
        """Bring a server that has no guest any more to a ReadyForQuery with nothing owed.

        Raises PoolguardError if it can't be cancelled or is lost, TimeoutError after *seconds*.
        """
        if not self.replies and not unsynced and not copying and not self.skipping:
            return
        janitor = Janitor(self)
        self.guest = janitor
        if copying:
            self.write(messages.copy_fail("the client has gone"))
        if unsynced or self.skipping or (copying and PASS in self.replies):
            if not self.skipping:
                # What was not synced is not committed: a Sync alone would do that (PostgreSQL docs, 55.2.3).
                self.write(messages.EXTENDED_ROLLBACK)
                self.replies.extend((PASS, PASS, PASS))
            self.write(messages.SYNC)
            self.replies.append(SYNC)
            self.skipping = False
        try:
            async with asyncio.timeout(seconds):
                while self.replies:
                    # Again and again: one that PostgreSQL gets before the statement has begun does nothing, and a
                    # statement whose client and server are gone would keep its locks for as long as it likes.
                    await self.cancel()
                    with contextlib.suppress(TimeoutError):
                        await janitor.wait(CANCEL_AGAIN_SECONDS)
        finally:
            self.guest = self.nobody

    def _must_succeed(self, error: dict[str, str] | None) -> None:
        if error is not None:
            raise ServerLost(f"resetting failed with {error.get('C', 'XX000')}")
