"""Pool snapshots and ledger lines with plain values, for those who test what reads them."""

from dataclasses import replace
from typing import Any

from poolguard.core.histogram import TRANSACTION_BOUNDS, WAIT_BOUNDS, Histogram
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.pool.lane import LaneSnapshot
from poolguard.pool.snapshot import PoolSnapshot


def pool_snapshot(name: str = "app", **changes: Any) -> PoolSnapshot:
    """A pool of 10 that nobody has used yet, but for *changes*."""
    untouched = PoolSnapshot(
        name=name,
        mode="transaction",
        policy="app",
        size=10,
        max_waiting=500,
        idle=0,
        held=0,
        opening=0,
        waiting=0,
        oldest_wait_seconds=0.0,
        sessions=0,
        pinned=0,
        checkouts_total=0,
        wait_timeouts_total=0,
        queue_full_total=0,
        opened_total=0,
        open_failures_total=0,
        closed_total={},
        wait_seconds=Histogram(WAIT_BOUNDS),
        checkout_seconds=Histogram(TRANSACTION_BOUNDS),
        retry_in_seconds=0.0,
        last_error="",
    )
    return replace(untouched, **changes)


def lane_snapshot(name: str = "job-pop", **changes: Any) -> LaneSnapshot:
    """A lane for four that nobody has used yet, but for *changes*."""
    untouched = LaneSnapshot(
        name=name,
        mode="enforce",
        at_once=4,
        max_waiting=20,
        wait_timeout_seconds=10.0,
        in_flight=0,
        waiting=0,
        oldest_wait_seconds=0.0,
        entered_total=0,
        rejections_total={},
        wait_seconds=Histogram(WAIT_BOUNDS),
    )
    return replace(untouched, **changes)


def session(
    ledger: Ledger,
    *,
    pool: str = "app",
    phase: Phase = Phase.IDLE,
    application_name: str = "shop",
    address: str = "127.0.0.1:40000",
    now: float = 1000.0,
    since: float | None = None,
) -> SessionEntry:
    """A session that has logged in and holds nothing; in *phase* since *since*."""
    entry = ledger.open_session(client_address=address, now=now)
    entry.pool, entry.user, entry.database = pool, "app", "shop"
    entry.application_name = application_name
    entry.phase, entry.phase_since = phase, now if since is None else since
    return entry


def holder(
    ledger: Ledger,
    *,
    pool: str = "app",
    phase: Phase = Phase.IDLE_IN_TRANSACTION,
    application_name: str = "shop",
    statements: tuple[bytes, ...] = (b"select 1",),
    began_at: float = 990.0,
    phase_since: float = 995.0,
) -> SessionEntry:
    """A session that holds a server."""
    entry = session(ledger, pool=pool, phase=phase, application_name=application_name, since=phase_since)
    entry.checkout, entry.backend_pid = 1, 4711
    entry.held_since = entry.began_at = began_at
    entry.statement_since = phase_since
    entry.earlier = statements[:-1]
    entry.statement = statements[-1] if statements else b""
    entry.statements = len(statements)
    ledger.holders[entry.session_id] = entry
    return entry
