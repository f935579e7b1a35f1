"""Why somebody waited for a server in vain. Pure."""

from collections.abc import Collection, Sequence
from typing import Final

from poolguard.core.ids import TransactionId
from poolguard.guard.clients import ClientKey, host_of
from poolguard.guard.conditions import IDLE
from poolguard.guard.incidents import Classification
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction

BEFORE_SECONDS: Final = 1.0
"""Who stood idle for longer than this before anybody waited does not stand idle because of that wait."""


def classify_starvation(
    holders: Sequence[Transaction],
    waiter: ClientKey | None = None,
    blocked: Collection[TransactionId] = (),
    *,
    waited: float = 0.0,
) -> Classification:
    """Name the cause, from what most *holders* do.

    *waiter* is the process that waited, for *waited* seconds; *blocked* are the transactions that wait for a lock. A
    pool waits for itself if one process has all of it, and most of what stands idle fell idle when the wait began:
    behind a sidecar all holders are one process's, also those that it has forgotten.
    """
    if not holders:
        return Classification.POOL_UNREACHABLE
    idle = [holder for holder in holders if holder.phase in IDLE]
    pinned = sum(holder.phase is Phase.PINNED for holder in holders)
    working = len(holders) - len(idle) - pinned
    if 2 * sum(holder.id in blocked for holder in holders) > working and working >= max(len(idle), pinned):
        return Classification.LOCKS_HOLD_POOL
    is_own = waiter is not None and idle and all(key_of_holder(holder) == waiter for holder in holders)
    before = sum(holder.phase_seconds > waited + BEFORE_SECONDS for holder in idle)
    if is_own and 2 * before < len(idle):
        return Classification.SELF_DEADLOCK
    if len(idle) >= max(pinned, working):
        return Classification.LEAKS_HOLD_POOL
    return Classification.PINS_HOLD_POOL if pinned >= working else Classification.WORK_HOLDS_POOL


def key_of_holder(holder: Transaction) -> ClientKey:
    """The process whose transaction it is."""
    return ClientKey(holder.application_name, holder.user, host_of(holder.client_address))
