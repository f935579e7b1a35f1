"""Trees are kept after they are gone."""

from datetime import timedelta

from poolguard.guard.locks.graph import LockGraph
from poolguard.guard.locks.history import TreeHistory
from tests.unit.guard.locks.builders import NOON, backend, graph_of, wait


def blocked(*waiters: int, root: int = 1, xact: int = 0) -> LockGraph:
    return graph_of([wait(pid, root) for pid in waiters], backend(root, xact_start=NOON + timedelta(seconds=xact)))


def test_a_root_that_goes_on_is_one_tree_at_its_largest() -> None:
    history = TreeHistory()
    for at, graph in enumerate([blocked(2), blocked(2, 3), blocked(3)]):
        history.see(graph, float(at))
    (seen,) = history
    assert (seen.first_at, seen.last_at, seen.tree.waiters) == (0.0, 2.0, 2)


def test_what_is_over_is_kept_behind_what_stands() -> None:
    history = TreeHistory()
    history.see(blocked(2, root=1), 1.0)
    history.see(blocked(9, root=8), 2.0)
    assert [seen.tree.root.pid for seen in history] == [8, 1]
    history.see(LockGraph(), 3.0)
    assert [seen.tree.root.pid for seen in history] == [8, 1]


def test_another_transaction_of_the_same_backend_is_another_tree() -> None:
    history = TreeHistory()
    history.see(blocked(2), 1.0)
    history.see(blocked(2, xact=5), 2.0)
    assert [seen.first_at for seen in history] == [2.0, 1.0]


def test_only_the_latest_are_kept() -> None:
    history = TreeHistory(kept=3)
    for root in range(10, 20):
        history.see(blocked(2, root=root), float(root))
        history.see(LockGraph(), root + 0.5)
    assert [seen.tree.root.pid for seen in history] == [19, 18, 17]
