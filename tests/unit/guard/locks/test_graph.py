"""Waits become trees: roots first, everybody once, no cycle lost."""

from poolguard.guard.locks import graph as module
from poolguard.guard.locks.backends import Node
from tests.unit.guard.locks.builders import backend, graph_of, wait


def test_a_root_blocks_and_does_not_wait() -> None:
    graph = graph_of([wait(2, 1, seconds=3), wait(3, 2, seconds=2)])
    (tree,) = graph.trees
    assert tree.root == Node(1)
    assert (tree.waiters, tree.wait_seconds, tree.longest_seconds) == (2, 5.0, 3.0)
    assert [(branch.wait.pid, branch.depth) for branch in tree.branches] == [(2, 1), (3, 2)]
    assert (graph.waiters, graph.longest_seconds) == (2, 3.0)


def test_nobody_waiting_is_an_empty_graph() -> None:
    assert graph_of([]) == module.LockGraph()


def test_the_root_with_most_waiters_comes_first_then_the_one_with_most_seconds() -> None:
    graph = graph_of([wait(2, 1, seconds=1), wait(4, 3, seconds=9), wait(6, 5), wait(7, 5)])
    assert [tree.root.pid for tree in graph.trees] == [5, 3, 1]


def test_a_self_edge_is_no_wait_for_oneself() -> None:
    """pg_blocking_pids may name the very pid that it was asked about."""
    (tree,) = graph_of([wait(2, 2, 1)]).trees
    assert tree.root == Node(1)
    assert graph_of([wait(2, 2)]).trees == ()


def test_doubled_blockers_count_once() -> None:
    (tree,) = graph_of([wait(2, 1, 1, 1)]).trees
    assert tree.waiters == 1


def test_parallel_workers_count_as_their_leader() -> None:
    graph = graph_of([wait(11, 1), wait(12, 1, seconds=5)], backend(11, leader_pid=10), backend(12, leader_pid=10))
    (tree,) = graph.trees
    assert tree.waiters == 1
    assert tree.longest_seconds == 5.0
    assert tree.branches[0].wait.pid == 10


def test_a_worker_that_waits_for_its_own_leader_is_no_blocked_backend_of_somebody() -> None:
    assert graph_of([wait(11, 10)], backend(11, leader_pid=10)).trees == ()


def test_a_prepared_transaction_is_a_root_of_its_own() -> None:
    (tree,) = graph_of([wait(2, Node(0, "g1"))]).trees
    assert tree.root == Node(0, "g1")
    assert tree.backend is None


def test_a_waiter_with_two_roots_is_in_both_trees() -> None:
    graph = graph_of([wait(3, 1, 2)])
    assert sorted(tree.root.pid for tree in graph.trees) == [1, 2]
    assert graph.waiters == 1


def test_a_waiter_stands_as_near_to_the_root_as_can_be() -> None:
    (tree,) = graph_of([wait(2, 1), wait(3, 2, 1)]).trees
    assert {branch.wait.pid: branch.depth for branch in tree.branches} == {2: 1, 3: 1}


def test_a_cycle_is_recorded_and_has_no_root() -> None:
    graph = graph_of([wait(1, 2), wait(2, 3), wait(3, 1), wait(4, 1)])
    assert graph.trees == ()
    assert graph.cycles == ((Node(1), Node(2), Node(3)),)


def test_a_cycle_behind_a_root_is_both() -> None:
    graph = graph_of([wait(2, 3, 1), wait(3, 2)])
    assert [tree.root.pid for tree in graph.trees] == [1]
    assert graph.cycles == ((Node(2), Node(3)),)


def test_a_long_chain_needs_no_recursion() -> None:
    graph = graph_of([wait(pid, pid - 1) for pid in range(2, 5002)])
    (tree,) = graph.trees
    assert tree.waiters == 5000
    assert len(tree.branches) == module.MOST_BRANCHES


def test_branches_say_which_is_the_last_under_its_blocker() -> None:
    (tree,) = graph_of([wait(2, 1, seconds=3), wait(3, 1, seconds=2), wait(4, 2)]).trees
    assert [(branch.wait.pid, branch.last) for branch in tree.branches] == [(2, False), (4, True), (3, True)]
