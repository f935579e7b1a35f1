"""One client's session: a guest of the server that it holds, a waiter in its pool's queue, and how it ends."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.pool.pool import Pool
from poolguard.relay.client_pipe import ClientPipe
from poolguard.relay.guests import Left
from poolguard.relay.parameters import ParameterSet, switch
from poolguard.relay.pipe import FAILED, IDLE, SWALLOW
from poolguard.relay.rest import Rest
from poolguard.relay.server import Server
from poolguard.relay.state import CLIENT_FULL, SERVER_FULL, Surroundings
from poolguard.relay.statements import Catalogue
from poolguard.relay.tally import TransactionEnd
from poolguard.settings.model import PoolMode
from poolguard.wire import messages
from poolguard.wire.text import Pin

_QUERY, _CALL = b"QF"
CULPABLE: Final = ("40P01", "23505")
"""Deadlocks and duplicate keys: who met whom is worked out at once, while both are still there."""
# An enum's attribute costs a look-up that a constant of the module does not.
_PHASE_IDLE: Final = Phase.IDLE
_PHASE_ACTIVE: Final = Phase.ACTIVE
_PHASE_PINNED: Final = Phase.PINNED
_PHASE_WAITING: Final = Phase.WAITING
_PHASE_IN_TRANSACTION: Final = Phase.IDLE_IN_TRANSACTION


def _nowhere() -> None:
    """Of a session that is in no lane."""


class Session(Rest):
    """A logged-in client."""

    __slots__ = ()

    def __init__(
        self,
        *,
        transport: asyncio.Transport,
        entry: SessionEntry,
        pool: Pool[Server],
        catalogue: Catalogue,
        wanted: ParameterSet,
        around: Surroundings,
    ) -> None:
        super().__init__(transport=transport, entry=entry, pool=pool, catalogue=catalogue, wanted=wanted, around=around)
        pool.sessions += 1
        transport.set_protocol(self)

    # What the transport calls.

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self.fd = -1
        self.around.unread.ends(self)
        if not self.lingers():
            self.leave(vanished=True)

    def eof_received(self) -> bool:
        """Clients never half-close."""
        return False

    def pause_writing(self) -> None:
        """The client does not read: stop reading its server, or itself."""
        self.congested |= CLIENT_FULL
        self.around.unread.begins(self, monotonic())
        if self.server is not None:
            self.server.transport.pause_reading()
        self.read_or_not()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.congested &= ~CLIENT_FULL
        self.around.unread.ends(self)
        if self.server is not None:
            self.server.transport.resume_reading()
        self.read_or_not()
        if self.afterwards and self.can_be_told:
            self.come_to_rest()

    def _part(self, server: Server) -> None:
        """Neither waits for the other's reader any more."""
        self.congested &= CLIENT_FULL
        server.transport.resume_reading()
        self.read_or_not()

    # What the server's pipe calls.

    deliver = ClientPipe.write

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come: give the server back, or say in which state it is kept."""
        if self.unsynced:
            return
        self.copying = 0
        entry = self.entry
        if status == IDLE and not self.pin:
            server = self.server
            assert server is not None, "nothing was held"
            # detach(), written out: this is done for every transaction.
            self.server = None
            server.guest = server.nobody
            if self.congested:
                self._part(server)
            del self.holders[entry.session_id]
            entry.phase = _PHASE_IDLE
            entry.phase_since = now
            self.pool.checkout_seconds.observe(now - entry.held_since)
            if server.cancels or server.forget_statements:
                self.clean(server)
            else:
                self.pool.give_back(server, now)
            if self.afterwards:
                self.come_to_rest()
            return
        if status == IDLE and self.freeing and self.freed():
            self.settled(status, now)
            return
        entry.phase_since = now
        if status == IDLE:
            self._settled_pinned(now)
        elif status == FAILED:
            entry.phase = Phase.FAILED_TRANSACTION
            self.spoilt = entry.statements + 1
        else:
            entry.phase = _PHASE_IN_TRANSACTION

    def _settled_pinned(self, now: float) -> None:
        """A transaction is over, or there was none, and the server stays."""
        if self.entry.phase is _PHASE_ACTIVE:  # else nothing was asked of PostgreSQL, or the guard has ended it
            self.counters.tally.kept(self, now)
        self.entry.phase = _PHASE_PINNED
        if self.unlocking and self.asks_for_locks():
            return
        if self.gate is None:
            self.gate = self.wake
        if self.afterwards:
            self.come_to_rest()

    def transaction_over(self) -> None:
        """What was sent behind its end is another transaction, whose age starts anew (COMMIT and BEGIN, pipelined)."""
        self.entry.began_at = monotonic()
        self.undo = (0, self.wanted)  # committed, or undone and reported

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        """PostgreSQL wants COPY data; until it ends, Sync is not answered."""
        if self.resetting is not None:
            self.reset_waits(postponed=postponed)
        if not ended:
            self.copying += 1
        if not synced:
            self.unsynced = True  # its Sync was ignored; another follows the data

    def tangled(self) -> None:
        """See pipe.Guest."""
        self.pin_for(Pin.UNREAD)

    def synced(self) -> None:
        """See pipe.Guest."""
        self.unsynced = False

    def erred(self, fields: dict[str, str]) -> None:
        """An error ends a COPY; what the client still sends of it PostgreSQL drops. Errors with a culprit are told."""
        self.spoilt = self.entry.statements
        self.afterwards = True
        if fields.get("C") in CULPABLE:
            self.around.on_error(self.entry, fields)
        self.freeing = frozenset()
        if self.learning is not None:
            self.unlearnt()
        self.doubted = self.unnamed
        self.reset_erred()
        self.copying = 0
        if self.server is not None and self.server.skipping:
            self.unsynced = True

    def cancel_seen(self) -> None:
        """Somebody cancels what runs."""

    def server_lost(self, error: PoolguardError | None) -> None:
        """The server is gone, and with it whatever was going on."""
        if self.server is None:
            return
        mid_row = self.server.mid_row
        self.counters.tally.cut(self, TransactionEnd.ERROR, monotonic())
        self.detach(monotonic())
        self.entry.phase = Phase.IDLE
        if error is None or mid_row:  # in half a row an error would be read as data
            self.close_transport()
        else:
            self.fatal(error)

    def server_congested(self, *, congested: bool) -> None:
        """PostgreSQL does not read, or reads again."""
        if congested:
            self.congested |= SERVER_FULL
        else:
            self.congested &= ~SERVER_FULL
        self.read_or_not()

    # Holding and giving back.

    def attach(self, server: Server, now: float) -> bytes:
        """Hold *server*; what must be sent before anything else is returned."""
        self.server = server
        server.guest = self
        server.last = entry = self.entry
        entry.checkout += 1
        entry.backend_pid = server.backend_pid
        entry.held_since = entry.began_at = entry.phase_since = now
        entry.statements = 0
        entry.earlier = ()
        self.holders[entry.session_id] = entry
        self.pool.checkouts += 1
        if self.congested:
            server.transport.pause_reading()
            self.read_or_not()
        if server.applied is self.wanted and self.block is None:
            return b""
        server.unnamed = None  # any Query drops it
        prefix = b""
        if server.applied is not self.wanted:
            sql = switch(server.applied, self.wanted)
            server.applied = self.wanted
            if sql:
                server.replies.append(SWALLOW)
                prefix = messages.query(sql)
        if self.block is not None:
            entry.began_at = self.block.began_at
            server.replies.append(SWALLOW)
            prefix += messages.query(self.block.begin)
            self.block = None
            self.began = self.afterwards = True
            self.spoilt = 0
            self.regate()
        return prefix

    def detach(self, now: float) -> Server:
        """Let go of the server, without giving it back yet."""
        server, entry = self.server, self.entry
        assert server is not None, "nothing to let go of"
        self.server = None
        server.guest = server.nobody
        if self.congested:
            self._part(server)
        del self.holders[entry.session_id]
        entry.phase_since = now
        self.pool.checkout_seconds.observe(now - entry.held_since)
        return server

    def clean(self, server: Server, *, patience: float = 0.0, vanished: bool = False) -> asyncio.Task[None]:
        left = Left(
            unsynced=self.unsynced,
            copying=self.copying > 0,
            session_state=self.ignored or bool(self.pin),
            advisory_lock=self.advisory_lock,
            client_vanished=vanished,
            patience=patience,
        )
        self.unsynced, self.copying, self.ignored = False, 0, False
        self.advisory_lock = self.advisory_lock and bool(self.pin)
        server.vacate()

        async def clean() -> None:
            await server.clean(left)

        return self.around.tasks.spawn(clean(), name=f"clean server {server.id}")

    def lane_exit(self) -> Callable[[], object]:
        """What to call when nothing runs any more in PostgreSQL of what the session let go of. See LanedSession."""
        return _nowhere

    def leave(self, *, patience: float = 0.0, vanished: bool = False) -> None:
        """End the session; what it held is made clean. *vanished*: it said no goodbye. Safe to repeat."""
        if self.closed:
            return
        self.closed = True
        self.gate = self.drop
        self.withdraw()
        self.pool.sessions -= 1
        if self.pin and self.pool.settings.mode is PoolMode.TRANSACTION:
            self.pool.pinned -= 1
        if self.server is not None:
            self.counters.tally.cut(self, TransactionEnd.ABANDONED, monotonic())
            self.clean(self.detach(monotonic()), patience=patience, vanished=vanished)
        if self.subscriber is not None:
            self.subscriber.leave()
        self.around.ledger.close_session(self.entry)
        self.around.on_closed(self)

    def fatal(self, error: PoolguardError) -> None:
        """Tell the client why, and end the session."""
        if not self.closed:
            if self.server is None or not self.server.mid_row:
                self.deliver(messages.error_of(error, severity="FATAL"))
            self.close_transport()

    def close_transport(self) -> None:
        self.leave()
        self.transport.close()

    def unread_bytes(self) -> int:
        """What waits until the client reads."""
        return self.transport.get_write_buffer_size()

    def cut(self) -> None:
        """End the session and its connection at once: the client would not read a goodbye."""
        self.leave(vanished=True)
        self.transport.abort()
