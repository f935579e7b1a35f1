"""Nodes and backends say who they are."""

from poolguard.guard.locks.backends import Node
from tests.unit.guard.locks.builders import backend


def test_a_node_is_named_by_its_pid_or_its_gid() -> None:
    assert [str(Node(7)), str(Node(0, "g")), str(Node(0))] == [
        "pid 7",
        "prepared transaction g",
        "prepared transaction (not known which)",
    ]


def test_a_state_that_may_not_be_seen_is_empty() -> None:
    assert (backend(1, None).state, backend(1, "idle").state, backend(3).pid) == ("", "idle", 3)
