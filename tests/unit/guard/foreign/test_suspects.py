"""Which roots are judged, and what stays the same of them from look to look."""

import pytest

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.foreign.suspects import MOST_SUSPECTS, REMEMBERED_SECONDS, Suspect, Suspects
from poolguard.guard.locks.backends import Node
from poolguard.ledger.entries import Phase
from tests.unit.guard.foreign.builders import graph, psql
from tests.unit.guard.locks.builders import backend, graph_of, wait

NOW = 1000.0


def only(suspects: list[Suspect]) -> Suspect:
    (suspect,) = suspects
    return suspect


def test_a_root_that_is_not_ours_and_blocks_us_is_told_as_a_transaction() -> None:
    found = only(Suspects().read(graph(psql()), NOW, ())).transaction
    assert (found.backend_pid, found.user, found.database, found.application_name) == (1, "dev", "shop", "psql")
    assert (found.phase, found.phase_seconds, found.transaction_seconds) == (Phase.IDLE_IN_TRANSACTION, 30.0, 40.0)
    assert (found.blocking, found.blocking_seconds) == (1, 12.0)


@pytest.mark.parametrize(
    "roots",
    [
        graph(psql(), ours=False),
        graph(psql(kind="autovacuum worker")),
        graph(psql(kind="walsender")),
        graph(psql(pool="app", transaction=TransactionId(SessionId(1), 1))),
        graph_of([wait(101, Node(0, "order-7"))], backend(101, pool="app", transaction=TransactionId(SessionId(7), 1))),
    ],
    ids=["it blocks others only", "autovacuum", "replication", "ours", "prepared transaction"],
)
def test_what_no_rule_is_ever_about(roots: object) -> None:
    assert Suspects().read(roots, NOW, ()) == []  # type: ignore[arg-type] # graphs


def test_a_server_of_ours_that_is_being_made_clean_is_not_somebody_else_s() -> None:
    assert Suspects().read(graph(psql()), NOW, {1}) == []


def test_the_same_transaction_keeps_its_name_and_ages_with_our_clock() -> None:
    """Each look reads ages anew, a little late or early: a start that wandered would be another transaction's."""
    suspects = Suspects()
    first = only(suspects.read(graph(psql()), NOW, ())).transaction
    later = only(suspects.read(graph(psql(transaction_seconds=42.3, state_seconds=31.7)), NOW + 2, ())).transaction
    assert later.id == first.id
    assert (later.transaction_seconds, later.phase_seconds) == (42.0, 32.0)


def test_another_transaction_of_the_same_process_is_another_one() -> None:
    suspects = Suspects()
    first = only(suspects.read(graph(psql()), NOW, ()))
    second = only(suspects.read(graph(psql(began=3.0, transaction_seconds=1.0, state_seconds=1.0)), NOW + 2, ()))
    assert second.transaction.id != first.transaction.id
    assert second.transaction.transaction_seconds == 1.0


def test_one_that_is_no_root_for_a_moment_is_remembered_and_not_for_ever() -> None:
    suspects = Suspects()
    first = only(suspects.read(graph(psql()), NOW, ())).transaction.id
    suspects.read(graph(), NOW + 30, ())
    assert suspects.remembered == {first}
    assert only(suspects.read(graph(psql()), NOW + 40, ())).transaction.id == first
    suspects.read(graph(), NOW + 40 + REMEMBERED_SECONDS, ())
    assert suspects.remembered == set()


def test_an_idle_session_with_a_lock_and_one_that_can_not_be_seen_stand_like_a_pin() -> None:
    found = Suspects().read(graph(psql("idle"), psql(None, pid=2)), NOW, ())
    assert {one.transaction.phase for one in found} == {Phase.PINNED}


def test_what_its_statement_says_is_read_without_literals_and_with_comments() -> None:
    found = only(Suspects().read(graph(psql(comments="/* poolguard:ignore */")), NOW, ()))
    assert found.traits.text == "update item set n = ?"
    assert b"poolguard:ignore" in found.transaction.statement
    assert b"hidden" not in found.transaction.statement


def test_however_many_there_are_few_are_judged_at_a_time() -> None:
    assert len(Suspects().read(graph(*(psql(pid=pid) for pid in range(1, 100))), NOW, ())) == MOST_SUSPECTS
