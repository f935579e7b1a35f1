"""The hot path of prepared statements: a batch that binds and executes one by its name, and does nothing else.

What drivers send once they have prepared a statement: Bind, perhaps Describe, Execute, Sync, in one piece. Where the
server has the statement, only the name in Bind is another; all else (a server that has not, an answer still owed, a
statement that is not plain) is walked message by message, by talk.py. Breaks the same rules of the house as pipe.py.
"""

import struct
from time import monotonic
from typing import Final

from poolguard.relay.client_pipe import executes_plainly
from poolguard.relay.pipe import BATCH, length_at
from poolguard.relay.server import Server
from poolguard.relay.statements import Statement
from poolguard.relay.talk import Talk
from poolguard.wire.text import PLAIN

_bind_header: Final = struct.Struct("!cI").pack


class Prepared(Talk):
    """The part of a session that runs what it has prepared."""

    __slots__ = ()

    def plainly_bound(self, data: bytes) -> Statement | None:
        """The client's statement that *data*, which begins with a Bind, runs, if it is one plain batch; else None."""
        zero = data.find(b"\0", 6)
        statement = self.statements.get(data[6:zero])
        if (
            statement is None
            or data[5]  # a portal that has a name
            or statement.verdict is not PLAIN
            or self.unsure
            or self.portals
            or self.copying
            or self.unsynced
            or zero >= (end := 1 + length_at(data, 1)[0])  # a Bind that ends before its name does
            or not executes_plainly(data, end)
        ):
            return None
        return statement

    def bind(self, data: bytes) -> bool:
        """Forward *data*, which begins with a Bind, if it is one plain batch of a named statement; else False."""
        statement = self.plainly_bound(data)
        if statement is None:
            return False
        now = monotonic()
        server: Server | None = self.server
        if server is None:
            server = self.take()
            if server is None:
                self.wait(data, now)
            else:
                self.stranger = server.last is not self.entry
                self.execute(server, self.attach(server, now), data, now, statement)
            return True
        if server.replies or server.skipping:
            return False
        self.execute(server, b"", data, now, statement)
        return True

    def execute(self, server: Server, prefix: bytes, data: bytes, now: float, statement: Statement) -> None:
        """Send *prefix*, then *data* with the server's name for *statement*; walk it where the server has none."""
        if not server.known.uses(statement):
            self.walk(data, prefix)
            return
        # An error may tell that the statement's columns have changed: it is about this one.
        self.binding, self.bound = data, {statement}
        self.entry.runs(statement.text, now)
        server.replies.append(BATCH)
        name = statement.name
        zero = data.find(b"\0", 6)
        header = _bind_header(b"B", length_at(data, 1)[0] + len(name) + 6 - zero)
        server.write(b"".join((prefix, header, b"\0", name, data[zero:])))
