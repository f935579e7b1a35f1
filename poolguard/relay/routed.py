"""A session whose transactions may run in another pool than its own, by what their first statement says.

The session's own pool is the one that it logged in to. A transaction that one of the `routes` leads elsewhere checks
out there: its wait, its limits, its policy and its errors are that pool's. At its end the session is back. At rest
such a session is walked message by message, off the hot path; once it holds a server it is like any other.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import SessionEntry
from poolguard.pool.pool import Pool
from poolguard.pool.registry import fits
from poolguard.relay.parameters import ParameterSet
from poolguard.relay.pipe import length_at
from poolguard.relay.retrying import RetryingSession
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.relay.state import Surroundings
from poolguard.relay.statements import Catalogue
from poolguard.settings.model import PoolMode, Route
from poolguard.wire.text import classify

LOOKED_AT_BYTES: Final = 4096
"""How much of a text a route's expression sees."""

_KEPT: Final = 1024
_KEPT_BYTES: Final = 1024
"""How many verdicts are kept, and of texts up to what length."""

_QUERY, _PARSE, _BIND, _DESCRIBE = b"QPBD"


class Router:
    """The statement routes of one kind of session. A verdict is kept by its text: who repeats it pays once."""

    def __init__(self, routes: Iterable[Route], pools: Mapping[str, Pool[Server]]) -> None:
        self._routes = [(re.compile(route.match.statement or ""), route.pool) for route in routes]
        self._pools = pools
        self._verdicts: dict[bytes, str | None] = {}

    def pool_for(self, text: bytes) -> Pool[Server] | None:
        """Where a transaction that begins with *text* runs; None: where its session is at home."""
        try:
            name = self._verdicts[text]
        except KeyError:
            name = self._judge(text)
        return None if name is None else self._pools.get(name)  # a reload may have taken it away

    def _judge(self, text: bytes) -> str | None:
        seen = text[:LOOKED_AT_BYTES].decode("utf-8", "replace")
        name = next((pool for pattern, pool in self._routes if pattern.search(seen)), None)
        if classify(text).subscribes:
            name = None  # what is heard where would depend on channels' names
        if len(text) <= _KEPT_BYTES:
            if len(self._verdicts) >= _KEPT:
                self._verdicts.clear()
            self._verdicts[text] = name
        return name


class RoutedSession(Session):
    """A session of a pool of mode `transaction`, under statement routes."""

    __slots__ = ("own_pool", "router")

    @property
    def home_pool(self) -> Pool[Server]:
        """The pool that it logged in to."""
        return self.own_pool

    def __init__(self, *, router: Router, **session: Any) -> None:
        super().__init__(**session)
        self.router = router
        self.own_pool = self.pool
        self.regate()

    def regate(self) -> None:
        """Choose who takes the next chunk: before it holds a server, each message must be seen."""
        super().regate()
        if self.server is None and self.held is None and not self.carry and not self.closed:
            self.gate = self.walk

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come: when the server is given back, the session is at home again."""
        super().settled(status, now)
        if self.server is None and not self.closed:
            self._enter(self.own_pool)
            self.regate()

    def detach(self, now: float) -> Server:
        """Let go of the server, without giving it back yet."""
        server = super().detach(now)
        self._enter(self.own_pool)
        return server

    def wait_failed(self, error: PoolguardError) -> None:
        super().wait_failed(error)
        if self.server is None:
            self._enter(self.own_pool)

    def check_out(self, out: list[bytes], data: bytes, position: int) -> Server | None:
        """Take a server of the pool that the first statement belongs to."""
        if not self.pin:
            self._enter(self.router.pool_for(self._text_at(data, position)) or self.own_pool)
        return super().check_out(out, data, position)

    def _enter(self, pool: Pool[Server]) -> None:
        if pool is not self.pool and not self.closed:
            self.pool.sessions -= 1
            pool.sessions += 1
            self.pool = pool
            self.take = pool.take
            self.entry.pool = pool.name

    def _text_at(self, data: bytes, position: int) -> bytes:
        """The statement that the message at *position* is about; empty for none."""
        tag = data[position]
        body = data[position + 5 : position + 1 + length_at(data, position + 1)[0]]
        if tag == _QUERY:
            return body[:-1]
        if tag == _PARSE:
            return body.split(b"\0", 2)[1]
        if tag == _BIND:
            return self._prepared(body.split(b"\0", 2)[1])
        return self._prepared(body[1:-1]) if tag == _DESCRIBE else b""

    def _prepared(self, name: bytes) -> bytes:
        if name:
            statement = self.statements.get(name)
            return b"" if statement is None else statement.text
        return b"" if self.unnamed is None else self.unnamed[6 : self.unnamed.index(b"\0", 6)]


def begin_session(
    routes: Iterable[Route],
    pools: Mapping[str, Pool[Server]],
    *,
    transport: asyncio.Transport,
    entry: SessionEntry,
    pool: Pool[Server],
    catalogue: Catalogue,
    wanted: ParameterSet,
    around: Surroundings,
) -> Session:
    """A session of *pool*; a routed one if any of *routes* looks at statements of clients like this.

    A routed one is never tried again: that its transaction runs where it belongs is worth more.
    """
    client = {"database": entry.database, "user": entry.user, "application_name": entry.application_name}
    looking = [route for route in routes if route.match.statement is not None and fits(route.match, **client)]
    kind: type[Session] = Session if pool.settings.retry is None else RetryingSession
    more: dict[str, Any] = {}
    if looking and pool.settings.mode is PoolMode.TRANSACTION:
        kind, more = RoutedSession, {"router": Router(looking, pools)}
    return kind(transport=transport, entry=entry, pool=pool, catalogue=catalogue, wanted=wanted, around=around, **more)
