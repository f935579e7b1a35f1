"""What a client is told that waited in vain: who held the servers, since when, doing what. Pure."""

from collections.abc import Sequence
from typing import Final

from poolguard.core.errors import LaneBusy, PoolExhausted, PoolguardError, ShuttingDown
from poolguard.core.units import format_duration
from poolguard.ledger.facts import Transaction
from poolguard.pool.lane import LaneSnapshot
from poolguard.pool.state import Refusal
from poolguard.wire.fingerprint import fingerprint

NAMED_HOLDERS: Final = 3
STATEMENT_LENGTH: Final = 200
"""Characters of a holder's statement that the error shows; literals are gone from it."""
ROOT_LENGTH: Final = 300
"""Characters that may tell who is at the root of a lock queue: two names of PostgreSQL's length, and their state."""


def exhausted(
    pool: str,
    reason: Refusal,
    waited: float,
    *,
    size: int,
    waiting: int,
    holders: Sequence[Transaction],
    upstream_error: PoolguardError | None,
    shows_text: bool = True,
    lock_root: str = "",
) -> PoolExhausted:
    """The 53300 of a wait that failed. *holders* oldest first; *lock_root*: behind whose lock most of them wait."""
    if reason is Refusal.TIMEOUT:
        text = f"query_wait_timeout: pool {pool!r} had no server within {format_duration(waited)}"
    else:
        text = f"query_wait_timeout: pool {pool!r} has its queue full"
    text += f" (size {size}, {len(holders)} held, {waiting} waiting)"
    if upstream_error is not None and not holders:
        return PoolExhausted(
            f"{text}; PostgreSQL can't be reached: {upstream_error.message}",
            hint="Nothing was sent to PostgreSQL: it is safe to repeat. See poolguard's log for the connection.",
        )
    if holders:
        text += f"; held longest by {describe(holders[0], shows_text=shows_text)}"
    if lock_root:
        text += f"; most of them wait for locks behind {lock_root[:ROOT_LENGTH]}"
    return PoolExhausted(
        text,
        detail="\n".join(f"held by {describe(holder, shows_text=shows_text)}" for holder in holders[:NAMED_HOLDERS]),
        hint="Nothing was sent to PostgreSQL: it is safe to repeat. End or fix the holder; raise the pool's size "
        "or wait_timeout only if the holders are doing useful work.",
    )


def kept_out(
    pool: str,
    lane: LaneSnapshot,
    reason: Refusal,
    waited: float,
    *,
    inside: Sequence[Transaction],
    shows_text: bool = True,
) -> LaneBusy:
    """The 53300 of a transaction that its lane did not let in. *inside*: those in it that hold a server."""
    if reason is Refusal.TIMEOUT:
        text = f"query_wait_timeout: lane {lane.name!r} of pool {pool!r} had no place within {format_duration(waited)}"
    else:
        text = f"query_wait_timeout: lane {lane.name!r} of pool {pool!r} has its queue full"
    text += f" ({lane.at_once} at once, {lane.in_flight} inside, {lane.waiting} waiting)"
    if inside:
        text += f"; inside longest is {describe(inside[0], shows_text=shows_text)}"
    return LaneBusy(
        text,
        detail="\n".join(f"inside is {describe(holder, shows_text=shows_text)}" for holder in inside[:NAMED_HOLDERS]),
        hint="Nothing was sent to PostgreSQL: it is safe to repeat. See why those inside take so long; raise at_once, "
        f"max_waiting or wait of pools.{pool}.lanes only if they are doing useful work.",
    )


def removed(pool: str) -> ShuttingDown:
    """Why a session ends whose pool a reload took away."""
    return ShuttingDown(
        f"pool {pool!r} was removed from poolguard's settings; connect again",
        hint="A new connection gets the pool that routes, database name or default_pool lead to now.",
    )


def describe(holder: Transaction, *, shows_text: bool = True) -> str:
    """One holder in a line, without a literal of its statement, or with nothing of it but the fingerprint."""
    name = holder.application_name or holder.user or "unnamed client"
    since = format_duration(holder.phase_seconds)
    held = format_duration(holder.checkout_seconds)
    statement = fingerprint(holder.statement)
    shown = statement.text[:STATEMENT_LENGTH] if shows_text else statement.id
    text = shown if statement.text else "no statement yet"
    pin = f", pinned by {holder.pin}" if holder.pin else ""
    return (
        f"{name} at {holder.client_address} (transaction {holder.id}, backend {holder.backend_pid}): "
        f"{holder.phase.value} for {since}, server held for {held}{pin}, last statement: {text}"
    )
