"""One session's line in the ledger.

Written on the hot path, so: plain attributes, nothing computed, nothing formatted. Times are on the monotonic
clock. A statement is kept as the bytes that the client sent; it is fingerprinted only when somebody reads.
"""

from enum import StrEnum
from typing import Final

from poolguard.core.ids import SessionId, TransactionId

RECENT_STATEMENTS: Final = 16
"""How many statements of an open transaction are remembered."""

LASTING_SETS: Final = 16
"""How many SETs of a session are remembered."""


class Phase(StrEnum):
    """Where a session stands. It holds a server in the phases from ACTIVE on."""

    LOGIN = "login"
    IDLE = "idle"
    DEFERRED = "transaction begun, nothing held"
    WAITING = "waiting for a server"
    WAITING_IN_LANE = "waiting in a lane"
    ENDED = "transaction ended by the guard"
    ACTIVE = "active"
    IDLE_IN_TRANSACTION = "idle in transaction"
    FAILED_TRANSACTION = "idle in transaction (aborted)"
    PINNED = "idle, pinned"


class SessionEntry:
    """What one session is doing. Only the relay writes to it."""

    __slots__ = (
        "application_name",
        "backend_pid",
        "began_at",
        "channels",
        "checkout",
        "client_address",
        "connected_at",
        "database",
        "earlier",
        "held_since",
        "lane",
        "phase",
        "phase_since",
        "pin",
        "pool",
        "session_id",
        "sets",
        "statement",
        "statement_since",
        "statements",
        "user",
    )

    def __init__(self, session_id: SessionId, *, client_address: str, connected_at: float) -> None:
        self.session_id: Final = session_id
        self.client_address: Final = client_address
        """`127.0.0.1:40312`, or `unix`."""
        self.connected_at: Final = connected_at
        self.user = ""
        self.database = ""
        self.application_name = ""
        self.pool = ""
        self.phase = Phase.LOGIN
        self.phase_since = connected_at
        self.checkout = 0
        """Grows with every checkout; with `session_id` it names the transaction."""
        self.backend_pid = 0
        """PostgreSQL's, of the server that is held, or was the last; 0 before the first."""
        self.held_since = 0.0
        self.began_at = 0.0
        """When the client began the transaction: its BEGIN, even a deferred one, or its first statement."""
        self.statement = b""
        """The latest SQL text as the client sent it: at most 8 KiB, perhaps cut off in the middle of a token."""
        self.statement_since = 0.0
        self.statements = 0
        """Statements of this checkout so far."""
        self.earlier: tuple[bytes, ...] = ()
        """Texts of the open transaction's statements before the latest, newest last: most have none."""
        self.sets: tuple[bytes, ...] = ()
        """Texts of the latest SETs of parameters that PostgreSQL does not report, newest last; each pins the server."""
        self.channels = 0
        """How many channels it hears by the pool's listening server."""
        self.lane = ""
        """The lane of its pool that it waits in, or is inside of; empty for none."""
        self.pin = ""
        """Why the server outlives the transaction; empty for no pin."""

    def remember_set(self, sql: bytes) -> None:
        """*sql* is a SET that lasts beyond its transaction, and keeps the server."""
        self.sets = (*self.sets, sql)[-LASTING_SETS:]

    def runs(self, sql: bytes, now: float) -> None:
        """*sql* is sent to PostgreSQL. `ClientPipe.start` has this written out."""
        if self.statements:
            self.outlast()
        self.statement = sql
        self.statement_since = self.phase_since = now
        self.statements += 1
        self.phase = Phase.ACTIVE

    def outlast(self) -> None:
        """There will be a later statement than the latest."""
        self.earlier = (*self.earlier[2 - RECENT_STATEMENTS :], self.statement)

    @property
    def recent(self) -> tuple[bytes, ...]:
        """Texts of the open transaction's latest statements, newest last."""
        return (*self.earlier, self.statement) if self.statements else ()

    @property
    def transaction_id(self) -> TransactionId:
        """The name under which this checkout can be acted on."""
        return TransactionId(self.session_id, self.checkout)
