"""A session whose transactions may run in another pool than its own, by what their first statement says.

The session's own pool is the one that it logged in to. A transaction that one of the `routes` leads elsewhere checks
out there: its wait, its limits, its policy and its errors are that pool's. At its end the session is back. At rest
such a session is walked message by message, off the hot path; once it holds a server it is like any other.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from poolguard.core.by_text import ByText
from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import SessionEntry
from poolguard.pool.pool import Pool
from poolguard.pool.registry import fits
from poolguard.relay.laned import LanedSession
from poolguard.relay.parameters import ParameterSet
from poolguard.relay.pipe import length_at
from poolguard.relay.retrying import RetryingSession
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.relay.state import Surroundings
from poolguard.relay.statements import Catalogue
from poolguard.settings.expressions import MOST_CHARACTERS, search_for
from poolguard.settings.model import PoolMode, Route
from poolguard.wire.text import classify


class Router:
    """The statement routes of one kind of session. A verdict is kept by its text: who repeats it pays once."""

    def __init__(self, routes: Iterable[Route], pools: Mapping[str, Pool[Server]]) -> None:
        self._routes: Final = [(search_for(route.match.statement or ""), route.pool) for route in routes]
        self._pools = pools
        self._verdicts: Final[ByText[str | None]] = ByText(self._judge)

    def pool_for(self, text: bytes) -> Pool[Server] | None:
        """Where a transaction that begins with *text* runs; None: where its session is at home."""
        name = self._verdicts(text)
        return None if name is None else self._pools.get(name)  # a reload may have taken it away

    def _judge(self, text: bytes) -> str | None:
        if classify(text).subscribes:
            return None  # what is heard where would depend on channels' names
        seen = text[:MOST_CHARACTERS].decode("utf-8", "replace")
        return next((pool for found_in, pool in self._routes if found_in(seen)), None)


class RoutedSession(LanedSession):
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

    @property
    def looks(self) -> bool:
        """See LanedSession."""
        return True

    def came_home(self) -> None:
        """The server was given back: the session is in its own pool again."""
        self._enter(self.own_pool)

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
            text = self.text_at(data, position, position + 1 + length_at(data, position + 1)[0])
            self._enter(self.router.pool_for(text) or self.own_pool)
        return super().check_out(out, data, position)

    def _enter(self, pool: Pool[Server]) -> None:
        if pool is not self.pool and not self.closed:
            self.pool.sessions -= 1
            pool.sessions += 1
            self.pool = pool
            self.take = pool.take
            self.entry.pool = pool.name


def _looking(routes: Iterable[Route], entry: SessionEntry) -> list[Route]:
    """Those of *routes* that look at the statements of a client like this."""
    client = {"database": entry.database, "user": entry.user, "application_name": entry.application_name}
    return [route for route in routes if route.match.statement is not None and fits(route.match, **client)]


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
    kind: Callable[..., Session] = LanedSession if pool.settings.lanes else Session
    if pool.settings.retry is not None:
        kind = RetryingSession
    if pool.settings.mode is PoolMode.TRANSACTION and (looking := _looking(routes, entry)):
        kind = partial(RoutedSession, router=Router(looking, pools))
    return kind(transport=transport, entry=entry, pool=pool, catalogue=catalogue, wanted=wanted, around=around)
