"""Waits and backends with what a test does not care about filled in."""

from datetime import UTC, datetime
from typing import Any

from poolguard.guard.locks.backends import Backend, Identity, Node, Wait
from poolguard.guard.locks.graph import LockGraph, Tree, build
from poolguard.wire.fingerprint import fingerprint

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def wait(pid: int, *blockers: int | Node, seconds: float = 1.0, mode: str = "ShareLock", target: str = "") -> Wait:
    nodes = tuple(node if isinstance(node, Node) else Node(node) for node in blockers)
    return Wait(pid=pid, blockers=nodes, seconds=seconds, mode=mode, target=target)


def backend(
    pid: int, state: str | None = "active", *, sql: str = "", kind: str = "client backend", **rest: Any
) -> Backend:
    identity = Identity(
        pid=pid, backend_start=NOON, xact_start=rest.pop("xact_start", NOON), state_change=NOON, state=state
    )
    return Backend(identity=identity, kind=kind, statement=fingerprint(sql) if sql else None, **rest)


def graph_of(waits: list[Wait], *backends: Backend) -> LockGraph:
    return build(waits, {one.pid: one for one in backends})


def tree_of(root: Backend, *waiters: int) -> Tree:
    (tree,) = graph_of([wait(pid, root.pid) for pid in waiters or (2,)], root).trees
    return tree
