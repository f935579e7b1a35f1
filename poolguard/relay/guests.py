"""Who has a server while no session has it: nobody, or poolguard itself; and how a session leaves one behind."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from poolguard.core.errors import PoolguardError, ServerLost
from poolguard.pool.snapshot import CloseReason
from poolguard.wire import messages

if TYPE_CHECKING:
    from poolguard.relay.server import Server

_UNASKED: Final = b"NS"
"""What PostgreSQL may say at any time: notices and parameters. A notification is noise: a server that still listens,
by a LISTEN that a function hid, would tell it to whoever comes next."""


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
        if self._server.fatal:
            self._server.discard(CloseReason.LOST)  # at once: nobody shall be given it before it is closed
        elif data[0] not in _UNASKED:
            self._server.discard(CloseReason.NOISE)

    def settled(self, status: int, now: float) -> None:
        """Nothing was owed."""

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        """Nothing was asked."""

    def tangled(self) -> None:
        """Nobody is met by it."""

    def synced(self) -> None:
        """Nobody sent it."""

    def erred(self, fields: dict[str, str]) -> None:
        """Nothing was asked."""

    def parameter_changed(self, name: str, value: str) -> bytes | None:
        """A reload of PostgreSQL's own settings; the server is as good as before."""

    def parameter_given(self, name: str, value: str) -> None:
        """Nobody is told."""

    def swallowed(self, tag: bytes) -> None:
        """Nobody asks."""

    def reset_over(self, status: int) -> None:
        """Nobody has values of its own."""
        self.settled(status, 0.0)

    def name_of(self, ours: bytes) -> bytes:
        """Nobody has names of its own."""
        return ours

    def plan_changed(self) -> None:
        """Nobody has statements."""

    def transaction_over(self) -> None:
        """Nobody counts."""

    def server_lost(self, error: PoolguardError | None) -> None:
        """Nobody is hurt."""

    def server_congested(self, *, congested: bool) -> None:
        """Nobody writes."""


class Janitor(Nobody):
    """poolguard itself as a guest: waits until all that is owed has come, and reads nothing but errors."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._over = asyncio.Event()
        self._lost: PoolguardError | None = None
        self.error: dict[str, str] | None = None

    def deliver(self, data: bytes) -> None:
        """What the last guest will not read any more."""

    def settled(self, status: int, now: float) -> None:
        """All has come."""
        self._over.set()

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        """A COPY that nobody will feed."""
        if not ended:
            self._server.write(messages.copy_fail("the client has gone"))

    def parameter_changed(self, name: str, value: str) -> bytes | None:
        """A ROLLBACK took back what the last guest had set."""
        self._server.applied = None
        return None

    def server_lost(self, error: PoolguardError | None) -> None:
        """Nothing more will come."""
        self._lost = error or ServerLost("PostgreSQL closed the connection")
        self._over.set()

    async def wait(self, seconds: float) -> None:
        """Return when all has come. Raises PoolguardError, or TimeoutError after *seconds*."""
        async with asyncio.timeout(seconds):
            await self._over.wait()
        if self._lost is not None:
            raise self._lost
