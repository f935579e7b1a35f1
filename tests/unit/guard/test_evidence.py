"""What an incident shows of transactions and pools."""

import pytest

from poolguard.guard.evidence import MAX_NAME, classify, party_of, pool_state_of
from poolguard.guard.incidents import Classification
from poolguard.guard.traits import statements_of
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from tests.support.snapshots import pool_snapshot
from tests.unit.guard.builders import active, idle, transaction


@pytest.mark.parametrize(
    ("recent", "latest", "statements"),
    [
        ((b"a", b"b"), b"b", (b"a", b"b")),
        ((b"a",), b"b", (b"a", b"b")),
        ((), b"b", (b"b",)),
        ((b"a",), b"", (b"a",)),
        ((), b"", ()),
    ],
)
def test_statements_are_the_recent_ones_and_the_latest_once(
    recent: tuple[bytes, ...], latest: bytes, statements: tuple[bytes, ...]
) -> None:
    assert statements_of(transaction(recent=recent, statement=latest)) == statements


def test_each_fingerprint_is_shown_once_newest_last_and_without_literals() -> None:
    facts = transaction(
        recent=(b"begin", b"select 1", b"update t set a = 'hunter'", b"select 2 /*route='%2Fpay'*/"),
        statement=b"select 3",
    )
    party = party_of(facts)
    assert [each.text for each in party.fingerprints] == ["begin", "update t set a = ?", "select ?"]
    assert party.tags == {"route": "/pay"}
    assert "hunter" not in repr(party)


def test_what_was_set_and_keeps_the_server_is_shown_once_and_without_its_value() -> None:
    sets = (b"set search_path to 'tenant_7'", b"SET search_path TO 'tenant_8'", b"set lock_timeout = 5")
    party = party_of(transaction(sets=sets, phase=Phase.PINNED), statements=())
    assert [each.text for each in party.sets] == ["set search_path to ?", "set lock_timeout = ?"]
    assert all(each.text == each.id for each in party.without_text().sets)


def test_names_from_clients_are_bounded() -> None:
    party = party_of(transaction(application_name="x" * 10_000, user="y" * 10_000, database="z" * 10_000))
    assert (len(party.application_name), len(party.user), len(party.database)) == (MAX_NAME,) * 3


def test_pool_state_tells_utilisation() -> None:
    state = pool_state_of(pool_snapshot(size=10, held=8, waiting=3))
    assert state is not None
    assert (state.size, state.held, state.waiting, state.utilisation) == (10, 8, 3, 0.8)
    assert pool_state_of(None) is None


@pytest.mark.parametrize(
    ("facts", "classification"),
    [
        (idle(60.0), Classification.LEAK),
        (idle(60.0, phase=Phase.FAILED_TRANSACTION), Classification.FAILED_AND_LEFT),
        (idle(60.0, phase=Phase.PINNED), Classification.PINNED),
        (active(60.0), Classification.LONG_STATEMENT),
        (active(1.0, transaction_seconds=60.0), Classification.LONG_TRANSACTION),
    ],
)
def test_trouble_is_classified_by_phase_and_ages(facts: Transaction, classification: Classification) -> None:
    assert classify(facts) is classification
