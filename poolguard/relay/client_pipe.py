"""The hot path from a client to the server that it holds: a plain Query or batch with the least that can be done.

Breaks the same rules of the house as pipe.py, for the same reasons; whatever is not plain goes to talk.py.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from poolguard.core.errors import ClientViolation
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.relay.pipe import BATCH, IN_TRANSACTION, SIMPLE, Writer, length_at
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, Kind, classify

STATEMENT_BYTES: Final = 8192
"""How much of a statement the ledger keeps."""

BEGUN: Final = messages.command_complete("BEGIN") + messages.READY[IN_TRANSACTION]
STARTED: Final = messages.command_complete("START TRANSACTION") + messages.READY[IN_TRANSACTION]

_QUERY, _PARSE, _BIND, _DESCRIBE, _EXECUTE, _SYNC = b"QPBDES"
_PORTAL: Final = b"P"[0]
_ENDING: Final = messages.message(b"D", b"P\0") + messages.message(b"E", b"\0\0\0\0\0") + messages.message(b"S", b"")
"""What follows the Bind in libpq's batch: Describe and Execute of the unnamed portal, and Sync."""
_ENDING_BYTES: Final = len(_ENDING)
_SHORTEST_BIND: Final = 13
_RUNS: Final = (_DESCRIBE, _EXECUTE)
_ACTIVE: Final = Phase.ACTIVE  # an enum's attribute costs a look-up that a constant of the module does not


class Batch:
    """A batch that the hot path takes: Parse, Bind, perhaps Describe, Execute, Sync, all without names."""

    __slots__ = ("parse", "parse_bytes", "sql", "verdict")

    def __init__(self, parse: bytes, sql: bytes) -> None:
        self.parse = parse
        self.parse_bytes = len(parse)
        self.sql = sql
        self.verdict = classify(sql)


NO_BATCH: Final = Batch(b"no message begins like this", b"")


def plain_batch(data: bytes, last: Batch) -> Batch | None:
    """What *data* is, if it is exactly one plain batch; *last* itself if only the Bind is another.

    Clients send the same text again and again, so that the second time it is neither cut out nor classified.
    """
    if data.startswith(last.parse):
        return last if ends_plainly(data, last.parse_bytes) else None
    if len(data) < 10 or data[5]:
        return None
    end = 1 + length_at(data, 1)[0]
    zero = data.find(b"\0", 6, end)
    return Batch(data[:end], data[6:zero]) if zero > 0 and ends_plainly(data, end) else None


def ends_plainly(data: bytes, position: int) -> bool:
    """Whether *data* from *position* on, behind its Parse, is the rest of one plain batch and nothing else."""
    size = len(data)
    rest = size - position - _ENDING_BYTES
    if rest >= _SHORTEST_BIND and data.endswith(_ENDING) and length_at(data, position + 1)[0] == rest - 1:
        return data[position] == _BIND and not (data[position + 5] or data[position + 6])
    while position + 6 < size:
        tag = data[position]
        if tag == _BIND:
            if data[position + 5] or data[position + 6]:
                return False
        elif tag == _DESCRIBE:
            if data[position + 5] != _PORTAL:
                return False
        elif tag != _EXECUTE:
            return False
        position += 1 + length_at(data, position + 1)[0]
    return position + 5 == size and data[position] == _SYNC and length_at(data, position + 1)[0] == 4


class ClientPipe(Writer):
    """From the client to the server it holds. `gate` takes the bytes whenever things are not plain."""

    __slots__ = ("entry", "gate", "last_batch", "server", "take", "unnamed", "unsynced")

    def __init__(
        self, transport: asyncio.Transport, *, tls: bool, entry: SessionEntry, take: Callable[[], Any]
    ) -> None:
        super().__init__(transport, tls=tls)
        self.gate: Callable[[bytes], None] | None = None
        """None on the hot path; else it is given the chunk."""
        self.entry = entry
        self.take = take
        """The pool's `take`: a server at once, or None."""
        self.server: Any = None
        self.last_batch = NO_BATCH
        self.unsynced = False
        """Extended messages were sent whose Sync has not been."""
        self.unnamed: bytes | None = None
        """The client's unnamed statement, as its Parse; gone with the next Query (PostgreSQL docs, 55.2.3)."""

    def data_received(self, data: bytes) -> None:
        """Forward one plain Query or batch with the least that can be done; leave everything else to walk()."""
        if self.gate is not None:
            self.gate(data)
            return
        tag = data[0]
        if tag == _QUERY and len(data) > 5 and length_at(data, 1)[0] == len(data) - 1:
            sql = data[5:-1]
            parse = None
            verdict = classify(sql)
        elif tag == _PARSE and (batch := plain_batch(data, self.last_batch)) is not None and not self.unsynced:
            sql, parse, verdict = batch.sql, batch.parse, batch.verdict
            if batch.parse_bytes <= STATEMENT_BYTES:
                self.last_batch = batch
        else:
            if tag != _BIND or not self.bind(data):
                self.walk(data)
            return
        server = self.server
        if verdict is not PLAIN and (server is None or not verdict.only_ends):
            if verdict.kind is Kind.BEGIN and parse is None:
                self.defer(sql, STARTED if verdict.name else BEGUN)
            else:
                self.walk(data)
            return
        now = monotonic()
        if server is None:
            server = self.take()
            if server is None:
                self.wait(data, now, sql, parse)
                return
            prefix = self.attach(server, now)
            if prefix:
                data = prefix + data
        elif server.skipping:
            self.walk(data)
            return
        self.start(server, data, now, sql, parse)

    def begun(self, data: bytes) -> None:
        """The gate behind a deferred BEGIN: a plain Query goes out with it, in one write."""
        if data[0] == _QUERY and len(data) > 5 and length_at(data, 1)[0] == len(data) - 1:
            sql = data[5:-1]
            if classify(sql) is PLAIN:
                now = monotonic()
                server = self.take()
                if server is None:
                    self.wait(data, now, sql)
                else:
                    self.start(server, self.attach(server, now) + data, now, sql, None)
                return
        elif data[0] == _BIND and self.bind(data):
            return
        self.walk(data)

    def start(self, server: Any, data: bytes, now: float, sql: bytes, parse: bytes | None) -> None:
        """Send *data*: a plain Query of *sql*, or with *parse* a plain batch; perhaps with something before it."""
        if len(sql) > STATEMENT_BYTES:
            sql = sql[:STATEMENT_BYTES]
        entry = self.entry  # SessionEntry.runs, written out: this is done for every plain statement
        if entry.statements:
            entry.outlast()
        entry.statement = sql
        entry.statement_since = entry.phase_since = now
        entry.statements += 1
        entry.phase = _ACTIVE
        self.unnamed = server.unnamed = parse
        server.replies.append(SIMPLE if parse is None else BATCH)
        server.write(data)

    def wait(self, data: bytes, now: float, sql: bytes | None = None, parse: bytes | None = None) -> None:
        """Queue for a server; *data* goes on when it has come. *sql*, *parse*: it can go by start()."""
        raise NotImplementedError

    def bind(self, data: bytes) -> bool:
        """Forward *data*, which begins with a Bind, if it is one plain batch of a named statement; else False."""
        raise NotImplementedError

    def attach(self, server: Any, now: float) -> bytes:
        """Hold *server*; what must be sent before anything else is returned."""
        raise NotImplementedError

    def defer(self, begin: bytes, reply: bytes) -> None:
        """Answer a BEGIN with *reply*; PostgreSQL sees it together with what follows."""
        raise NotImplementedError

    def walk(self, data: bytes) -> None:
        """Anything that is not a single plain Query."""
        raise NotImplementedError


def executes_plainly(data: bytes, position: int) -> bool:
    """Whether *data* from *position* on, behind a Bind, is the rest of a plain batch: Describe or not, Execute."""
    size = len(data)
    if position == size - _ENDING_BYTES and data.endswith(_ENDING):
        return True
    executed = False
    while position + 6 < size:
        tag = data[position]
        if executed or (tag == _DESCRIBE and data[position + 5] != _PORTAL) or tag not in _RUNS:
            return False
        executed = tag == _EXECUTE
        position += 1 + length_at(data, position + 1)[0]
    return executed and position + 5 == size and data[position] == _SYNC and length_at(data, position + 1)[0] == 4


def check_length(length: int, limit: int) -> None:
    """Raise ClientViolation unless *length*, which counts itself, is in 4..*limit*."""
    if length < 4:
        raise ClientViolation(f"message length {length} is below 4")
    if length > limit:
        raise ClientViolation(
            f"message of {length} bytes is over the limit of {limit}",
            hint="Raise limits.message_bytes in poolguard's settings.",
        )
