"""Ledger facts and snapshots to JSON. Pure. Ages are in seconds; statements are shown without their literals."""

from typing import Final

from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import SessionFacts, Transaction
from poolguard.pool.lane import LaneSnapshot
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.wire.fingerprint import comment_tags, fingerprint

STATES: Final = {phase.name.lower(): phase for phase in Phase}
"""Phases by the names that the API and the metrics have for them."""


def state(phase: Phase) -> str:
    """The name of *phase* in the API, such as `idle_in_transaction`."""
    return phase.name.lower()


def pool_view(pool: PoolSnapshot) -> dict[str, object]:
    """One pool. Totals count from the start of this process."""
    return {
        "name": pool.name,
        "mode": pool.mode,
        "policy": pool.policy,
        "size": pool.size,
        "idle": pool.idle,
        "held": pool.held,
        "opening": pool.opening,
        "pinned": pool.pinned,
        "waiting": pool.waiting,
        "max_waiting": pool.max_waiting,
        "oldest_wait_seconds": _round(pool.oldest_wait_seconds),
        "sessions": pool.sessions,
        "checkouts_total": pool.checkouts_total,
        "wait_timeouts_total": pool.wait_timeouts_total,
        "queue_full_total": pool.queue_full_total,
        "opened_total": pool.opened_total,
        "open_failures_total": pool.open_failures_total,
        "closed_total": {reason.value: number for reason, number in pool.closed_total.items()},
        "retry_in_seconds": _round(pool.retry_in_seconds),
        "last_error": pool.last_error or None,
        "lanes": [lane_view(lane) for lane in pool.lanes],
    }


def lane_view(lane: LaneSnapshot) -> dict[str, object]:
    """One lane of a pool. Where `mode` is observe, waits and rejections are what would have been."""
    return {
        "name": lane.name,
        "mode": lane.mode,
        "at_once": lane.at_once,
        "in_flight": lane.in_flight,
        "waiting": lane.waiting,
        "max_waiting": lane.max_waiting,
        "oldest_wait_seconds": _round(lane.oldest_wait_seconds),
        "wait_timeout_seconds": lane.wait_timeout_seconds,
        "entered_total": lane.entered_total,
        "rejections_total": dict(lane.rejections_total),
    }


def session_view(session: SessionFacts) -> dict[str, object]:
    """One session. `transaction` is the id to act on, while it holds a server."""
    return {
        "id": session.id,
        "pool": session.pool or None,
        "user": session.user,
        "database": session.database,
        "application_name": session.application_name,
        "client_address": session.client_address,
        "state": state(session.phase),
        "state_seconds": _round(session.phase_seconds),
        "connected_seconds": _round(session.connected_seconds),
        "transaction": str(session.transaction) if session.transaction else None,
        "backend_pid": session.backend_pid or None,
        "pin": session.pin or None,
        "lane": session.lane or None,
        "channels": session.channels,
    }


def transaction_view(transaction: Transaction, *, shows_text: bool = True) -> dict[str, object]:
    """One checkout."""
    return {
        "id": str(transaction.id),
        "session": transaction.id.session,
        "pool": transaction.pool,
        "user": transaction.user,
        "database": transaction.database,
        "application_name": transaction.application_name,
        "client_address": transaction.client_address,
        "backend_pid": transaction.backend_pid,
        "state": state(transaction.phase),
        "state_seconds": _round(transaction.phase_seconds),
        "transaction_seconds": _round(transaction.transaction_seconds),
        "statement_seconds": _round(transaction.statement_seconds),
        "checkout_seconds": _round(transaction.checkout_seconds),
        "statements": transaction.statements,
        "statement": statement_view(transaction.statement, shows_text=shows_text),
        "tags": comment_tags(transaction.statement),
        "pin": transaction.pin or None,
        "lane": transaction.lane or None,
    }


def statement_view(text: bytes, *, shows_text: bool = True) -> dict[str, str] | None:
    """The fingerprint of *text*; None for no statement. A long one that is new takes up to 3 ms."""
    if not text:
        return None
    normalised = fingerprint(text) if shows_text else fingerprint(text).without_text()
    return {"fingerprint": normalised.id, "text": normalised.text}


def _round(seconds: float) -> float:
    return round(seconds, 3)
