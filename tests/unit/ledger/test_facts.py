"""Rules of the snapshots."""

import dataclasses

import pytest

from poolguard.core.ids import SessionId, TransactionId
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.ledger.facts import SessionFacts, Transaction, session_facts, transaction_facts


def busy() -> SessionEntry:
    entry = SessionEntry(SessionId(5), client_address="127.0.0.1:40312", connected_at=1.0)
    entry.user, entry.database, entry.application_name, entry.pool = "ann", "shop", "web", "main"
    entry.phase, entry.phase_since, entry.checkout = Phase.ACTIVE, 8.0, 2
    entry.backend_pid, entry.held_since, entry.began_at = 4711, 6.0, 4.0
    entry.statement, entry.statement_since, entry.statements, entry.pin = b"select 1", 8.5, 3, "LISTEN"
    entry.earlier = (b"begin",)
    entry.channels = 2
    return entry


def test_a_transaction_is_read_with_all_its_ages() -> None:
    assert transaction_facts(busy(), 10.0) == Transaction(
        id=TransactionId(SessionId(5), 2),
        pool="main",
        user="ann",
        database="shop",
        application_name="web",
        client_address="127.0.0.1:40312",
        backend_pid=4711,
        phase=Phase.ACTIVE,
        phase_seconds=2.0,
        transaction_seconds=6.0,
        statement_seconds=1.5,
        checkout_seconds=4.0,
        statements=3,
        statement=b"select 1",
        recent=(b"begin", b"select 1"),
        pin="LISTEN",
    )


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ACTIVE])
def test_no_statement_has_an_age_while_none_runs(phase: Phase) -> None:
    entry = busy()
    entry.phase = phase
    assert transaction_facts(entry, 10.0).statement_seconds == 0.0


def test_a_snapshot_does_not_follow_the_entry() -> None:
    entry = busy()
    facts = transaction_facts(entry, 10.0)
    entry.outlast()
    entry.checkout += 1
    assert (facts.recent, facts.id.checkout) == ((b"begin", b"select 1"), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.pool = "other"  # type: ignore[misc]  # that it can't be written is what is tested


def test_no_age_is_below_zero() -> None:
    """A caller's `now` may be older than an entry that was written meanwhile."""
    facts, session = transaction_facts(busy(), 0.0), session_facts(busy(), 0.0, holds=True)
    ages = (facts.phase_seconds, facts.transaction_seconds, facts.statement_seconds, facts.checkout_seconds)
    assert (*ages, session.connected_seconds, session.phase_seconds) == (0.0,) * 6


@pytest.mark.parametrize(
    ("holds", "transaction", "backend_pid"), [(True, TransactionId(SessionId(5), 2), 4711), (False, None, 0)]
)
def test_only_a_holder_has_a_transaction_and_a_backend(
    holds: bool, transaction: TransactionId | None, backend_pid: int
) -> None:
    assert session_facts(busy(), 10.0, holds=holds) == SessionFacts(
        id=SessionId(5),
        pool="main",
        user="ann",
        database="shop",
        application_name="web",
        client_address="127.0.0.1:40312",
        connected_seconds=9.0,
        phase=Phase.ACTIVE,
        phase_seconds=2.0,
        transaction=transaction,
        backend_pid=backend_pid,
        pin="LISTEN",
        channels=2,
    )
