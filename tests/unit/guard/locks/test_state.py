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


def test_a_tree_is_found_by_its_root_and_by_those_who_wait_in_it() -> None:
    state, foreign = LockState(), backend(9, "idle in transaction")
    two, three = TransactionId(SessionId(3), 1), TransactionId(SessionId(4), 1)
    waiters = [backend(2, transaction=THEIRS), backend(3, transaction=two), backend(4, transaction=three)]
    waits = [wait(2, 1), wait(3, 9), wait(4, 9)]
    state.publish(graph_of(waits, backend(1, transaction=OURS), foreign, *waiters), 1.0)
    mine = state.tree_of(OURS)
    assert mine is not None
    assert (mine.root.pid, state.tree_of(THEIRS)) == (1, None)
    behind = state.tree_behind({THEIRS, two, three})
    assert behind is not None
    assert behind.root.pid == 9, "more of them wait there"
    assert state.tree_behind({OURS}) is None, "a root waits for nobody"
    assert LockState().tree_behind({OURS}) is None


def test_most_of_a_pools_holders_wait_in_one_tree_or_none_is_named() -> None:
    state, idle = LockState(), TransactionId(SessionId(9), 1)
    graph = graph_of([wait(2, 1)], backend(1, "idle in transaction"), backend(2, transaction=THEIRS))
    state.publish(graph, 1.0)
    assert state.root_behind([THEIRS]) is graph.trees[0]
    assert state.root_behind([THEIRS, idle]) is None, "half is not most"
    assert state.root_behind([]) is None
    state.publish(LockGraph(), 2.0)
    assert state.root_behind([THEIRS]) is None
