"""What follows from a graph."""

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.locks.graph import LockGraph
from poolguard.guard.locks.state import Blocking, LockState
from tests.unit.guard.locks.builders import backend, graph_of, wait

OURS, THEIRS = TransactionId(SessionId(1), 1), TransactionId(SessionId(2), 1)


def test_our_transactions_are_known_as_roots_and_as_waiters() -> None:
    state = LockState()
    state.publish(graph_of([wait(2, 1, seconds=3)], backend(1, transaction=OURS), backend(2, transaction=THEIRS)), 1.0)
    assert state.blocking == {OURS: Blocking(1, 3.0)}
    assert state.blocked[THEIRS].pid == 2


def test_when_nobody_waits_any_more_nothing_is_left_but_the_history() -> None:
    state = LockState()
    state.publish(graph_of([wait(2, 1)], backend(1, transaction=OURS)), 1.0)
    state.publish(LockGraph(), 2.0)
    assert (state.blocking, state.blocked, state.graph, state.at) == ({}, {}, LockGraph(), 2.0)
    assert len(list(state.history)) == 1


def test_calm_that_goes_on_is_not_news() -> None:
    state = LockState()
    state.publish(LockGraph(), 5.0)
    assert state.at == 0.0
