"""From ledger facts and pool snapshots to what an incident shows. Pure; statements become fingerprints here."""

from collections.abc import Sequence
from typing import Final

from poolguard.guard.incidents import Classification, Party, PoolState
from poolguard.guard.traits import Traits, read_traits, statements_of
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.wire.fingerprint import comment_tags, fingerprint

MAX_NAME: Final = 256
"""Longest name from a client that an incident repeats: 4 times PostgreSQL's own limit."""


def party_of(transaction: Transaction, *, statements: Sequence[bytes] | None = None) -> Party:
    """Describe *transaction*, with the fingerprints of *statements* (default: all that are known, and their traits)."""
    traits = read_traits(transaction) if statements is None else Traits()
    known = statements_of(transaction) if statements is None else statements
    tags: dict[str, str] = {}
    for sql in known:
        tags.update(comment_tags(sql))
    prints = [fingerprint(sql) for sql in known]
    newest_last = dict.fromkeys(reversed(prints))
    return Party(
        id=str(transaction.id),
        pool=transaction.pool,
        user=transaction.user[:MAX_NAME],
        database=transaction.database[:MAX_NAME],
        application_name=transaction.application_name[:MAX_NAME],
        client_address=transaction.client_address,
        backend_pid=transaction.backend_pid,
        phase=transaction.phase.value,
        phase_seconds=transaction.phase_seconds,
        transaction_seconds=transaction.transaction_seconds,
        statement_seconds=transaction.statement_seconds,
        checkout_seconds=transaction.checkout_seconds,
        statements=transaction.statements,
        pin=transaction.pin,
        fingerprints=tuple(reversed(newest_last)),
        tags=tags,
        wrote=traits.wrote,
        savepoint=traits.savepoint,
        isolation=traits.isolation,
        sets=tuple(dict.fromkeys(fingerprint(sql) for sql in transaction.sets)),
        statement_classes=tuple(sorted(traits.classes)),
        lifted_timeouts=tuple(sorted(traits.lifted)),
        blocking=transaction.blocking,
        blocking_seconds=transaction.blocking_seconds,
    )


def pool_state_of(snapshot: PoolSnapshot | None) -> PoolState | None:
    """The numbers of *snapshot* that explain a wait."""
    if snapshot is None:
        return None
    return PoolState(
        size=snapshot.size,
        idle=snapshot.idle,
        held=snapshot.held,
        opening=snapshot.opening,
        waiting=snapshot.waiting,
        oldest_wait_seconds=snapshot.oldest_wait_seconds,
        sessions=snapshot.sessions,
        pinned=snapshot.pinned,
        utilisation=snapshot.held / snapshot.size,
    )


def classify(transaction: Transaction) -> Classification:
    """Say what kind of trouble one transaction looks like."""
    match transaction.phase:
        case Phase.IDLE_IN_TRANSACTION:
            return Classification.LEAK
        case Phase.FAILED_TRANSACTION:
            return Classification.FAILED_AND_LEFT
        case Phase.PINNED:
            return Classification.PINNED
    # Most of its age in the running statement: then that is the one to look at.
    if transaction.statement_seconds * 2 >= transaction.transaction_seconds:
        return Classification.LONG_STATEMENT
    return Classification.LONG_TRANSACTION
