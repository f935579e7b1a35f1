"""Why somebody waited for a server in vain. Pure."""

from collections.abc import Collection, Sequence

from poolguard.core.ids import TransactionId
from poolguard.guard.clients import ClientKey, host_of
from poolguard.guard.conditions import IDLE
from poolguard.guard.incidents import Classification
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction


def classify_starvation(
    holders: Sequence[Transaction], waiter: ClientKey | None = None, blocked: Collection[TransactionId] = ()
) -> Classification:
    """Name the cause, from what most *holders* do.

    *waiter* is the process that waited; *blocked* are the transactions that wait for a lock.
    """
    if not holders:
        return Classification.POOL_UNREACHABLE
    idle = [holder for holder in holders if holder.phase in IDLE]
    pinned = sum(holder.phase is Phase.PINNED for holder in holders)
    working = len(holders) - len(idle) - pinned
    if 2 * sum(holder.id in blocked for holder in holders) > working and working >= max(len(idle), pinned):
        return Classification.LOCKS_HOLD_POOL
    if waiter is not None and idle and all(key_of_holder(holder) == waiter for holder in holders):
        return Classification.SELF_DEADLOCK
    if len(idle) >= max(pinned, working):
        return Classification.LEAKS_HOLD_POOL
    return Classification.PINS_HOLD_POOL if pinned >= working else Classification.WORK_HOLDS_POOL


def key_of_holder(holder: Transaction) -> ClientKey:
    """The process whose transaction it is."""
    return ClientKey(holder.application_name, holder.user, host_of(holder.client_address))
