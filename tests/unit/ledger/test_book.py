"""Rules of the ledger as a whole."""

import pytest

from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase, SessionEntry


def holder(ledger: Ledger, *, pool: str, held_since: float) -> SessionEntry:
    entry = ledger.open_session(client_address="unix", now=held_since)
    entry.pool, entry.held_since, entry.phase = pool, held_since, Phase.ACTIVE
    entry.checkout += 1
    ledger.holders[entry.session_id] = entry
    return entry


def test_a_session_id_is_never_used_again() -> None:
    ledger = Ledger()
    gone = ledger.open_session(client_address="unix", now=0.0)
    ledger.close_session(gone)
    assert ledger.open_session(client_address="unix", now=1.0).session_id > gone.session_id
    assert gone.session_id not in ledger.sessions


def test_a_session_that_holds_a_server_can_not_be_struck() -> None:
    ledger = Ledger()
    entry = holder(ledger, pool="a", held_since=0.0)
    with pytest.raises(AssertionError, match="while holding a server"):
        ledger.close_session(entry)
    assert entry.session_id in ledger.sessions


def test_transactions_are_those_that_hold_oldest_checkout_first() -> None:
    ledger = Ledger()
    young, old = holder(ledger, pool="a", held_since=9.0), holder(ledger, pool="b", held_since=4.0)
    ledger.open_session(client_address="unix", now=1.0)
    assert [found.id for found in ledger.transactions(10.0)] == [old.transaction_id, young.transaction_id]


@pytest.mark.parametrize(("pool", "ages"), [("a", [8.0, 1.0]), ("b", [5.0]), ("c", []), (None, [8.0, 5.0, 1.0])])
def test_transactions_can_be_asked_for_one_pool(pool: str | None, ages: list[float]) -> None:
    ledger = Ledger()
    for name, since in (("a", 9.0), ("b", 5.0), ("a", 2.0)):
        holder(ledger, pool=name, held_since=since)
    assert [found.checkout_seconds for found in ledger.transactions(10.0, pool=pool)] == ages


def test_facts_show_every_session_in_the_order_in_which_they_came() -> None:
    ledger = Ledger()
    idle = ledger.open_session(client_address="unix", now=2.0)
    busy = holder(ledger, pool="a", held_since=3.0)
    facts = ledger.facts(10.0)
    assert [(found.id, found.transaction) for found in facts] == [
        (idle.session_id, None),
        (busy.session_id, busy.transaction_id),
    ]
