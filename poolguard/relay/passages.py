"""Replication connections: each has a server of its own, outside of all pools, and every byte is passed on as it is.

What a walsender speaks has no transactions between which it could serve somebody else, and streams both ways at once
(PostgreSQL docs, 55.4). So nothing is looked at here, and nothing is shared: when one end goes, so does the other.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import NotLeader, NotSupported, PoolguardError, ShuttingDown, TooManyClients
from poolguard.core.ids import SessionId
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.relay.bound import Bound
from poolguard.settings.model import Pool
from poolguard.upstream.link import Link, open_link, send_cancel
from poolguard.upstream.target import Target
from poolguard.wire import messages

PIN: Final = "replication"
LINGER_SECONDS: Final = 5.0
"""How long either end has to take its last bytes."""


class Passages:
    """All of them."""

    def __init__(
        self,
        ledger: Ledger,
        bound: Bound,
        tasks: TaskOwner,
        target_of: Callable[[Pool], Target],
        limit: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._bound = bound
        self._tasks = tasks
        self._target_of = target_of
        self._limit = limit
        self._opening = 0
        self._passages: dict[SessionId, Passage] = {}
        self._over = False

    def __len__(self) -> int:
        return len(self._passages)

    def __contains__(self, session_id: SessionId) -> bool:
        return session_id in self._passages

    async def open(self, pool: Pool, replication: str, parameters: Mapping[str, str], lease: str = "") -> Link:
        """Open a server where *pool*'s are, with what the client asks of it: `replication=true`, `database` ...

        Raises NotLeader if *lease* is named and not held here; TooManyClients, NotSupported, what `open_link` raises.
        """
        if lease:
            self._bound.require(lease)
        limit = self._limit()
        if not limit:
            raise NotSupported(
                "replication connections are not taken here: limits.max_replication is 0",
                hint="Connect to PostgreSQL directly.",
            )
        if len(self._passages) + self._opening >= limit:
            raise TooManyClients(f"too many replication connections: limits.max_replication is {limit}")
        self._opening += 1
        try:
            wanted = {**parameters, **({} if pool.role is None else {"role": pool.role})}
            return await open_link(self._target_of(pool), parameters=wanted, replication=replication)
        finally:
            self._opening -= 1

    def begin(
        self, client: asyncio.Transport, link: Link, entry: SessionEntry, *, minor: int, early: bytes, lease: str = ""
    ) -> None:
        """Greet *client*, and let both ends talk. *early*: what it has said already; *lease*: what it ends with.

        Raises NotLeader if that has been lost meanwhile, or ShuttingDown; then *link* is closed.
        """
        if self._over:
            link.transport.abort()
            raise ShuttingDown("poolguard is stopping; connect again")
        if lease:
            try:
                self._bound.bind(entry.session_id, lease)
            except NotLeader:
                link.transport.abort()
                raise
        passage = Passage(client, link, entry, secrets.token_bytes(32 if minor >= 2 else 4), self._ended)
        self._passages[entry.session_id] = passage
        entry.phase, entry.pin, entry.backend_pid = Phase.PINNED, PIN, link.backend_pid
        client.write(messages.greeting(link.parameters, entry.session_id % 2**31, passage.key))
        passage.flow()
        if early:
            link.transport.write(early)

    async def cancel(self, pid: int, key: bytes) -> None:
        """End what the one with this key runs, if there is one."""
        passage = self._passages.get(SessionId(pid))
        if passage is not None and hmac.compare_digest(passage.key, key):
            await send_cancel(passage.link, timeout=LINGER_SECONDS)

    def cut(self, session_id: SessionId) -> None:
        """End one at once: nothing of it goes on to PostgreSQL any more, and what runs there is cancelled."""
        passage = self._passages.get(session_id)
        if passage is not None:
            passage.link.transport.abort()
            passage.end()
            self._tasks.spawn(_cancel(passage.link), name="cancel what a replication connection runs")

    def end(self) -> None:
        """End all: a stream has no end of its own that could be waited for."""
        self._over = True
        for passage in list(self._passages.values()):
            passage.end()

    def _ended(self, passage: "Passage") -> None:
        del self._passages[passage.entry.session_id]
        self._bound.unbind(passage.entry.session_id)
        self._ledger.close_session(passage.entry)


async def _cancel(link: Link) -> None:
    # What can't be cancelled ends when PostgreSQL next writes to a connection that is gone.
    with contextlib.suppress(PoolguardError, OSError):
        await send_cancel(link, timeout=LINGER_SECONDS)


class Passage:
    """A client and its server."""

    def __init__(
        self,
        client: asyncio.Transport,
        link: Link,
        entry: SessionEntry,
        key: bytes,
        on_end: Callable[["Passage"], None],
    ) -> None:
        self.link: Final = link
        self.entry: Final = entry
        self.key: Final = key
        self._ends: Final = (client, link.transport)
        self._on_end = on_end
        self._over = False

    def flow(self) -> None:
        """Let both ends hear each other."""
        client, server = self._ends
        client.set_protocol(End(server, self.end))
        server.set_protocol(End(client, self.end))
        server.resume_reading()

    def end(self) -> None:
        """Close both ends; what has come from one still goes to the other. Safe to repeat."""
        if self._over:
            return
        self._over = True
        for transport in self._ends:
            transport.close()
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)
        self._on_end(self)


class End(asyncio.Protocol):
    """Passes on to *other* what comes here; it reads no more than this end takes."""

    __slots__ = ("_on_lost", "_other")

    def __init__(self, other: asyncio.Transport, on_lost: Callable[[], None]) -> None:
        self._other = other
        self._on_lost = on_lost

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if not self._other.is_closing():
            self._other.write(data)

    def eof_received(self) -> bool:
        """Neither side half-closes."""
        return False

    def pause_writing(self) -> None:
        """This end does not read."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """This end has gone."""
        self._on_lost()
