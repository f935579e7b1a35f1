"""A session that waits: in its pool's queue for a server, or for something of its own to be done."""

import asyncio
from functools import partial
from time import monotonic
from typing import Final

from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import Phase
from poolguard.pool.state import Refusal
from poolguard.relay import refusal
from poolguard.relay.pipe import IDLE, length_at
from poolguard.relay.prepared import Prepared
from poolguard.relay.server import Server
from poolguard.relay.state import HUSHED, SERVER_FULL
from poolguard.relay.talk import PATIENCE_SECONDS
from poolguard.wire import messages

_QUERY, _CALL = b"QF"
_BIND: Final = b"B"
_PHASES_WAITING: Final = (Phase.WAITING, Phase.WAITING_IN_LANE)
_PHASE_WAITING: Final = Phase.WAITING  # an enum's attribute costs a look-up that a constant of the module does not


class Waiting(Prepared):
    """The part of a session that holds back what its client says."""

    __slots__ = ()

    # What the pool calls.

    def granted(self, server: Server, now: float) -> bool:
        """A server has come; send what was held back."""
        data = self.held
        if data is None or self.closed:
            return False
        sql = self.held_sql
        self.held = None
        if sql is not None:
            self.gate = None
            prefix = self.attach(server, now)
            self.start(server, prefix + data if prefix else bytes(data), now, sql, self.held_parse)
            return True
        self.read_or_not()
        self.regate()
        self.stranger = server.last is not self.entry
        prefix, data = self.attach(server, now), bytes(data)
        if data[:1] == _BIND and (statement := self.plainly_bound(data)) is not None:
            self.execute(server, prefix, data, now, statement)
        else:
            self.walk(data, prefix)
        return True

    def refused(self, reason: Refusal, waited: float) -> None:
        """The wait was in vain."""
        now = monotonic()
        holders = self.around.ledger.transactions(now, pool=self.pool.name)
        error = refusal.exhausted(
            self.pool.name,
            reason,
            waited,
            size=self.pool.state.size,
            waiting=self.pool.state.waiting,
            holders=holders,
            upstream_error=self.pool.last_error,
            shows_text=self.around.shows_text(),
            lock_root=self.around.lock_root([holder.id for holder in holders]),
        )
        self.around.on_starved(self.entry, waited, reason, holders)
        self.wait_failed(error)

    def failed(self, error: PoolguardError) -> None:
        """No server can be opened."""
        self.wait_failed(error)

    def withdraw(self) -> bool:
        """Give up its place in the queue; False if it has none."""
        return self.pool.withdraw(self)

    def wait(self, data: bytes, now: float, sql: bytes | None = None, parse: bytes | None = None) -> None:
        """Queue for a server; *data* goes on when it has come. *sql*, *parse*: it can go by start()."""
        self.held = data
        self.held_sql = sql
        self.held_parse = parse
        self.gate = self.hold
        entry = self.entry
        entry.phase = _PHASE_WAITING
        entry.phase_since = now
        self.pool.wait(self, now)

    def hold(self, data: bytes) -> None:
        """While it waits the client may go on talking; it is read, up to a bound, to see when it goes."""
        assert self.held is not None, "held back without a wait"
        if not isinstance(self.held, bytearray):
            self.held, self.held_sql = bytearray(self.held), None
        self.held += data
        self.read_or_not()

    def wait_failed(self, error: PoolguardError) -> None:
        if self.held is None:
            return
        data, self.held = bytes(self.held), None
        self.entry.phase, self.entry.phase_since = Phase.IDLE, monotonic()
        self.read_or_not()
        if self.block is not None:
            self.block.refuse()
        status = IDLE if self.block is None else self.block.status
        self.deliver(messages.error_of(error))
        simple = data[0] in (_QUERY, _CALL)
        if simple:
            self.deliver(messages.READY[status])
            data = data[1 + length_at(data, 1)[0] :]
        elif self.block is not None:
            self.block.skip_to_sync()
        else:
            self.skipping = True
        # Later, because a client may have sent thousands that are refused one by one.
        self.carry = data + self.carry
        self.regate()
        if data:
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self.afterwards:
            self.come_to_rest()

    def go_on(self) -> None:
        """Take what was held back while something of the session's own was done."""
        if self.held is not None and not self.closed:
            data, self.held = bytes(self.held), None
            self.read_or_not()
            if data and self.carry:
                data, self.carry = bytes(self.carry) + data, b""
            self.regate()
            if data:
                self.walk(data)
            elif self.afterwards:
                self.come_to_rest()
            self._may_be_over()

    def _may_be_over(self) -> None:
        if self.held is None and self.transport.is_closing():
            self.leave(vanished=True)

    def lingers(self) -> bool:
        """The client has gone; True if it said goodbye behind what is held back, which PostgreSQL would still run.

        What merely waits for a server is given up: nobody is there any more to want it. Not so what goes on in a
        moment, behind an answer that has come and with which the server went back.
        """
        held = self.held
        if self.closed or held is None or not held.endswith(messages.TERMINATE):
            return False
        if self.server is None and self.entry.phase in _PHASES_WAITING:
            return False
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, partial(self.leave, vanished=True))
        return True

    def _go_on(self) -> None:
        """Take what was held back behind a message that was refused."""
        if self.carry and not self.closed and self.held is None:
            data, self.carry = bytes(self.carry), b""
            self.walk(data)
            if self.afterwards and not self.closed:
                self.come_to_rest()

    def read_or_not(self) -> None:
        """Read the client only while what it says and what it is told in answer has somewhere to go."""
        full = self.held is not None and len(self.held) > self.buffer_limit
        stuck = self.congested & (SERVER_FULL | HUSHED) or (self.congested and self.server is None)
        reading = not (full or stuck)
        if reading is not self.reading and not self.closed and not self.transport.is_closing():
            self.reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def hush(self, *, hushed: bool) -> None:
        """Stop reading the client while a cancel is on its way to its server, or go on."""
        self.congested = self.congested | HUSHED if hushed else self.congested & ~HUSHED
        self.read_or_not()

    @staticmethod
    def drop(data: bytes) -> None:
        """Nothing that comes after the end is read. Bound to no session: one that has ended would hold itself."""
