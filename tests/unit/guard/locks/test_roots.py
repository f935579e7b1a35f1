"""A root is classified by what its backend does."""

import pytest

from poolguard.guard.locks.backends import Backend, Node
from poolguard.guard.locks.roots import ADVICE, RootKind, kind_of
from tests.unit.guard.locks.builders import backend, graph_of, tree_of, wait


@pytest.mark.parametrize(
    ("root", "kind"),
    [
        (backend(1, "idle in transaction"), RootKind.LEAK),
        (backend(1, "idle in transaction (aborted)"), RootKind.LEAK),
        (backend(1, "idle"), RootKind.SESSION_LOCK),
        (backend(1, "active", sql="update a set b = 1"), RootKind.ACTIVE),
        (backend(1, "active", sql="ALTER TABLE a ADD b int"), RootKind.DDL),
        (backend(1, "active", sql="created_by_me()"), RootKind.ACTIVE),
        (backend(1, "active", wait_event="Client/ClientWrite"), RootKind.CLIENT),
        (backend(1, "active", wait_event="IPC/SyncRep"), RootKind.REPLICATION),
        (backend(1, "active", kind="autovacuum worker"), RootKind.AUTOVACUUM),
        (backend(1, None), RootKind.FOREIGN),
    ],
)
def test_what_the_root_does_names_the_trouble(root: Backend, kind: RootKind) -> None:
    assert kind_of(tree_of(root)) is kind


def test_a_prepared_transaction_has_no_process() -> None:
    (tree,) = graph_of([wait(2, Node(0, "g"))]).trees
    assert kind_of(tree) is RootKind.PREPARED


def test_a_root_that_was_gone_when_it_was_looked_up_is_foreign() -> None:
    (tree,) = graph_of([wait(2, 1)]).trees
    assert kind_of(tree) is RootKind.FOREIGN


def test_every_kind_has_advice() -> None:
    assert ADVICE.keys() == set(RootKind)
