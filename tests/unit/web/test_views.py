"""What is shown of a session and a transaction."""

from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import transaction_facts
from poolguard.metrics.pool_readings import phase_label
from poolguard.web.views import STATES, state, transaction_view
from tests.support.snapshots import holder


def test_states_have_the_names_that_the_metrics_have() -> None:
    assert {phase: state(phase) for phase in Phase} == {phase: phase_label(phase) for phase in Phase}
    assert set(STATES.values()) == set(Phase)


def test_a_transaction_without_a_statement_yet_shows_none() -> None:
    entry = holder(Ledger(), statements=())

    view = transaction_view(transaction_facts(entry, 1000.0))

    assert view["statement"] is None


def test_a_statement_cut_off_in_a_literal_shows_nothing_of_it() -> None:
    entry = holder(Ledger(), statements=(b"select * from a where b = 'hunter2 is the passw",))

    assert "hunter2" not in str(transaction_view(transaction_facts(entry, 1000.0)))
