"""A session of a pool with lanes: a transaction that begins with certain statements waits its turn, holding nothing.

At rest such a session is walked message by message, off the hot path, to see what a transaction begins with; once it
holds a server it is nearly like any other. It is in the lane from before it asks for a server until that server is
clean again or gone, in PostgreSQL too: what a client left running when it vanished still counts.

What is pipelined behind something unanswered, and belongs to a lane that the session is not in, waits for that answer:
outside of a transaction the server has gone back by then, inside of one the statement is not the first. A session with
a pin passes by: it has a server, and perhaps locks that outlive transactions, so for it no lane is the outermost lock.
"""

from asyncio import Task, get_running_loop
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import Phase
from poolguard.pool.lanes import Lane, Ticket
from poolguard.pool.state import Refusal
from poolguard.relay import refusal
from poolguard.relay.pipe import IDLE, length_at
from poolguard.relay.replies import NotYet, Reply
from poolguard.relay.server import Server
from poolguard.relay.session import Session

MOST_LOOKED_AT: Final = 100
"""Messages of a batch that are looked at, to see what it runs."""

_QUERY, _PARSE, _BIND, _DESCRIBE, _EXECUTE, _SYNC = b"QPBDES"
_BEGINS: Final = b"QPBD"
_STATEMENT: Final = b"S"[0]


class Behind(NotYet):
    """What was sent before must be answered first."""


class LanedSession(Session):
    """See the module. Also the `Guest` of lanes."""

    __slots__ = ("behind", "ticket")

    def __init__(self, **parts: Any) -> None:
        self.ticket: Ticket | None = None
        """Its place in a lane."""
        self.behind = False
        """What is held back goes on when everything owed has come."""
        super().__init__(**parts)
        self.regate()

    # At rest each message is seen.

    def regate(self) -> None:
        """Choose who takes the next chunk: before it holds a server, each message must be seen."""
        super().regate()
        if self.looks and self.server is None and self.held is None and not self.carry and not self.closed:
            self.gate = self.walk

    @property
    def looks(self) -> bool:
        """Whether it matters what a transaction begins with."""
        return bool(self.pool.lanes)

    def check_out(self, out: list[bytes], data: bytes, position: int) -> Server | None:
        """Take a server, or first wait in the lane of what the transaction begins with."""
        if self.pool.lanes and not self.pin:
            lane = self._lane_at(data, position)
            if lane is not None and not self._comes_to(lane, data, position):
                return None
        return super().check_out(out, data, position)

    def _comes_to(self, lane: Lane, data: bytes, position: int) -> bool:
        """Whether it may go on at once."""
        assert self.ticket is None, "in a lane without a server"
        now = monotonic()
        ticket = self.ticket = lane.enter(self, now)
        if ticket is not None:
            self.entry.lane = lane.name
            if not ticket.waits:
                return True
        self.held, self.held_sql = data[position:], None
        self.gate = self.hold
        self.entry.phase, self.entry.phase_since = Phase.WAITING_IN_LANE, now
        if ticket is None:
            self.kept_out(lane, Refusal.QUEUE_FULL, 0.0)
        return False

    # What a lane calls.

    def admitted(self) -> None:
        """Its turn has come: ask for a server."""
        data = self.held
        assert data is not None, "waited in a lane without anything to say"
        now = monotonic()
        server = self.take()
        if server is None:
            self.wait(bytes(data), now)
        else:
            self.granted(server, now)

    def kept_out(self, lane: Lane, reason: Refusal, waited: float) -> None:
        """There is no place for it."""
        now, pool = monotonic(), self.pool.name
        inside = [held for held in self.around.ledger.transactions(now, pool=pool) if held.lane == lane.name]
        shows_text = self.around.shows_text()
        error = refusal.kept_out(pool, lane.snapshot(now), reason, waited, inside=inside, shows_text=shows_text)
        self.wait_failed(error)

    def withdraw(self) -> bool:
        """Give up its wait, in the lane or for a server; False if it waits for neither."""
        return super().withdraw() or self.entry.phase is Phase.WAITING_IN_LANE

    # Leaving it.

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come: where the transaction is over, so is the stay in its lane."""
        ticket = self.ticket
        super().settled(status, now)
        if self.unsynced or self.closed:
            return
        if self.ticket is ticket and (status == IDLE or self.server is None):
            self.leave_lane()
        if self.server is None:
            self.came_home()
            self.regate()
        if self.behind:
            self.behind = False
            self.go_on()

    def came_home(self) -> None:
        """The server was given back."""

    def leave_lane(self) -> None:
        """Give the place in the lane to the next, if it has one."""
        self.lane_exit()()

    def lane_exit(self) -> Callable[[], object]:
        """See Session."""
        ticket, self.ticket = self.ticket, None
        if ticket is None:
            return super().lane_exit()
        self.entry.lane = ""
        return ticket.leave

    def clean(self, server: Server, *, patience: float = 0.0, vanished: bool = False) -> Task[None]:
        """See Session; the place in the lane is kept until what was left has ended."""
        task = super().clean(server, patience=patience, vanished=vanished)
        if self.ticket is not None:
            leave = self.lane_exit()
            task.add_done_callback(lambda _: leave())
        return task

    def wait_failed(self, error: PoolguardError) -> None:
        if self.server is None:
            self.leave_lane()
        super().wait_failed(error)

    def leave(self, *, patience: float = 0.0, vanished: bool = False) -> None:
        """End the session, wherever it waits."""
        super().leave(patience=patience, vanished=vanished)
        self.leave_lane()

    # What comes behind something unanswered.

    def start(self, server: Server, data: bytes, now: float, sql: bytes, parse: bytes | None) -> None:
        """Send a plain statement, unless it must wait for its lane until what is under way has been answered."""
        if server.replies and self.pool.lanes and self._elsewhere(server, self.pool.lanes.of(sql)):
            self.held, self.held_sql, self.behind = data, None, True
            self.read_or_not()
            self.regate()
            return
        super().start(server, data, now, sql, parse)

    def _forward(self, server: Server, owed: list[int | Reply], data: bytes, position: int, end: int) -> bytes | None:
        if (
            server.replies
            and not owed
            and not self.unsynced
            and self.pool.lanes
            and data[position] in _BEGINS
            and self._elsewhere(server, self._lane_at(data, position))
        ):
            raise Behind
        return super()._forward(server, owed, data, position, end)

    def _interrupted(
        self, reason: Exception, out: list[bytes], owed: list[int | Reply], data: bytes, start: int, position: int
    ) -> bytes:
        if isinstance(reason, Behind):
            self.held, self.held_sql, self.behind = data[position:], None, True
        return super()._interrupted(reason, out, owed, data, start, position)

    def erred(self, fields: dict[str, str]) -> None:
        """See Session."""
        super().erred(fields)
        if self.server is not None and self.server.skipping:
            self._say_what_is_behind()

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        """See Session."""
        super().copy_in_started(ended=ended, synced=synced, postponed=postponed)
        self._say_what_is_behind()

    def _say_what_is_behind(self) -> None:
        """PostgreSQL waits for the client, for a Sync or for data, and will not answer before it has said more."""
        if self.behind:
            self.behind = False
            get_running_loop().call_soon(self.go_on)

    def _elsewhere(self, server: Server, lane: Lane | None) -> bool:
        """Whether what belongs to *lane* must wait for the session to come to rest, to go there."""
        if lane is None or self.pin or self.copying or server.skipping:
            return False
        return lane.enforces and (self.ticket is None or self.ticket.lane is not lane)

    # What a transaction begins with.

    def _lane_at(self, data: bytes, position: int) -> Lane | None:
        """The lane of what the message at *position* begins: one Query, or a batch with all that it runs.

        None for a batch that runs nothing, unless it is what a transaction begins with: preparing a statement takes
        none of its locks, but there its server stays.
        """
        found, runs, size = None, False, len(data)
        for _ in range(MOST_LOOKED_AT):
            if size - position < 5:
                return found  # its end has not come yet
            tag = data[position]
            if tag == _SYNC:
                return found if runs or self.block is not None else None
            end = position + 1 + length_at(data, position + 1)[0]
            if tag in _BEGINS:
                if end > size:
                    return found
                found = found or self.pool.lanes.of(self.text_at(data, position, end))
                if tag == _QUERY:
                    return found
            runs = runs or tag == _EXECUTE
            position = end
        return found

    def text_at(self, data: bytes, position: int, end: int) -> bytes:
        """The statement that the message from *position* to *end* is about; empty for none."""
        tag, body = data[position], data[position + 5 : end]
        if tag == _QUERY:
            return body[:-1]
        if tag == _PARSE:
            return _second(body)
        if tag == _BIND:
            return self._prepared(_second(body))
        return self._prepared(body[1:-1]) if tag == _DESCRIBE and body[:1] == b"S" else b""

    def _prepared(self, name: bytes) -> bytes:
        if name:
            statement = self.statements.get(name)
            return b"" if statement is None else statement.text
        return b"" if self.unnamed is None else self.unnamed[6 : self.unnamed.index(b"\0", 6)]


def _second(body: bytes) -> bytes:
    """The second of the strings that *body* begins with; empty if there is none."""
    strings = body.split(b"\0", 2)
    return strings[1] if len(strings) > 2 else b""
