"""What is known of one backend, and of the lock that it waits for. Pure; ages are seconds when it was read."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from poolguard.core.ids import TransactionId
from poolguard.wire.fingerprint import Fingerprint


class Node(NamedTuple):
    """Who waits or is waited for: a backend, or (pid 0) a prepared transaction, by its gid."""

    pid: int
    gid: str = ""

    def __str__(self) -> str:
        return f"pid {self.pid}" if self.pid else f"prepared transaction {self.gid or '(not known which)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What must not have changed if a backend is still doing what it did: checked by the statement that signals it."""

    pid: int
    backend_start: datetime | None
    xact_start: datetime | None
    state_change: datetime | None
    state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One row of pg_stat_activity. Without pg_read_all_stats, another role's state, ages and statement are empty."""

    identity: Identity
    kind: str
    """`client backend`, `autovacuum worker`, `walsender`, ..."""
    leader_pid: int = 0
    """Of a parallel worker: the backend that it works for; else 0."""
    user: str = ""
    superuser: bool = False
    database: str = ""
    application_name: str = ""
    client_address: str = ""
    wait_event: str = ""
    """`Lock/transactionid`, `Client/ClientRead`, `IPC/SyncRep`; empty for none."""
    transaction_seconds: float = 0.0
    state_seconds: float = 0.0
    statement_seconds: float = 0.0
    statement: Fingerprint | None = None
    comments: str = ""
    """Those of the statement, which may hold an exemption's marker. Never shown."""
    pool: str = ""
    """The pool of ours whose server it is; empty for somebody else's."""
    transaction: TransactionId | None = None
    """Our transaction that holds it."""

    @property
    def pid(self) -> int:
        """The process."""
        return self.identity.pid

    @property
    def state(self) -> str:
        """`active`, `idle in transaction`, ...; empty where it may not be seen."""
        return self.identity.state or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A backend that waits for a lock, and for whom."""

    pid: int
    blockers: tuple[Node, ...]
    """Holders of conflicting locks, and those who stand before it in the queue for one."""
    mode: str = ""
    """`ShareLock`, `AccessExclusiveLock`, ..."""
    target: str = ""
    """What is locked: `transaction 4711`, `relation public.jobs`, ..."""
    seconds: float = 0.0
