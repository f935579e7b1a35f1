"""Frozen snapshots of ledger entries, for those who judge, count or show."""

from dataclasses import dataclass

from poolguard.core.ids import SessionId, TransactionId
from poolguard.ledger.entries import Phase, SessionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One checkout, as the ledger had it at one moment. Ages are seconds at that moment."""

    id: TransactionId
    pool: str
    user: str
    database: str
    application_name: str
    client_address: str
    backend_pid: int
    phase: Phase
    phase_seconds: float
    """How long in this phase: for IDLE_IN_TRANSACTION, how long the client has said nothing."""
    transaction_seconds: float
    """Since the client's BEGIN or first statement."""
    statement_seconds: float
    """How long the running statement runs; 0 when none runs."""
    checkout_seconds: float
    """How long the server has been held."""
    statements: int
    statement: bytes
    recent: tuple[bytes, ...]
    pin: str
    sets: tuple[bytes, ...] = ()
    """SETs of this session that last beyond their transaction, newest last."""
    blocking: int = 0
    """How many sessions wait for its locks: filled in by whoever knows, 0 else."""
    blocking_seconds: float = 0.0
    """The longest of those waits."""
    lane: str = ""
    """The lane that it is inside of; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """One session, as the ledger had it at one moment."""

    id: SessionId
    pool: str
    user: str
    database: str
    application_name: str
    client_address: str
    connected_seconds: float
    phase: Phase
    phase_seconds: float
    transaction: TransactionId | None
    backend_pid: int
    pin: str
    channels: int
    """How many channels it hears by the pool's listening server."""
    lane: str = ""
    """The lane that it waits in, or is inside of; empty for none."""


def transaction_facts(entry: SessionEntry, now: float) -> Transaction:
    """Read the checkout of *entry*, which holds a server."""
    return Transaction(
        id=entry.transaction_id,
        pool=entry.pool,
        user=entry.user,
        database=entry.database,
        application_name=entry.application_name,
        client_address=entry.client_address,
        backend_pid=entry.backend_pid,
        phase=entry.phase,
        phase_seconds=max(0.0, now - entry.phase_since),
        transaction_seconds=max(0.0, now - entry.began_at),
        statement_seconds=max(0.0, now - entry.statement_since) if entry.phase is Phase.ACTIVE else 0.0,
        checkout_seconds=max(0.0, now - entry.held_since),
        statements=entry.statements,
        statement=entry.statement,
        recent=entry.recent,
        pin=entry.pin,
        sets=entry.sets,
        lane=entry.lane,
    )


def session_facts(entry: SessionEntry, now: float, *, holds: bool) -> SessionFacts:
    """Read *entry*, whether it holds a server or not."""
    return SessionFacts(
        id=entry.session_id,
        pool=entry.pool,
        user=entry.user,
        database=entry.database,
        application_name=entry.application_name,
        client_address=entry.client_address,
        connected_seconds=max(0.0, now - entry.connected_at),
        phase=entry.phase,
        phase_seconds=max(0.0, now - entry.phase_since),
        transaction=entry.transaction_id if holds else None,
        backend_pid=entry.backend_pid if holds else 0,
        pin=entry.pin,
        channels=entry.channels,
        lane=entry.lane,
    )
