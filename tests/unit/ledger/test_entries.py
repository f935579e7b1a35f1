"""Rules of one session's line."""

from poolguard.core.ids import SessionId, TransactionId
from poolguard.ledger.entries import RECENT_STATEMENTS, Phase, SessionEntry


def test_a_new_line_is_at_login_and_holds_nothing() -> None:
    entry = SessionEntry(SessionId(3), client_address="unix", connected_at=12.5)
    assert (entry.phase, entry.phase_since) == (Phase.LOGIN, 12.5)
    assert (entry.backend_pid, entry.checkout, entry.pin) == (0, 0, "")


def test_each_checkout_has_a_name_of_its_own() -> None:
    entry = SessionEntry(SessionId(3), client_address="unix", connected_at=0.0)
    entry.checkout = 7
    first = entry.transaction_id
    entry.checkout += 1
    assert (first, entry.transaction_id) == (TransactionId(SessionId(3), 7), TransactionId(SessionId(3), 8))


def test_only_the_latest_statements_are_remembered() -> None:
    entry = SessionEntry(SessionId(3), client_address="unix", connected_at=0.0)
    for number in range(RECENT_STATEMENTS + 3):
        entry.runs(b"%d" % number, float(number))
        assert len(entry.recent) == min(number + 1, RECENT_STATEMENTS)
    assert (entry.statements, entry.statement_since, entry.phase) == (RECENT_STATEMENTS + 3, 18.0, Phase.ACTIVE)
    assert entry.recent == tuple(b"%d" % number for number in range(3, RECENT_STATEMENTS + 3))


def test_what_was_said_in_an_earlier_checkout_is_not_the_transaction_s() -> None:
    entry = SessionEntry(SessionId(3), client_address="unix", connected_at=0.0)
    entry.statement = b"select 1"
    assert entry.recent == ()
