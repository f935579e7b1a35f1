"""The latest trees of waiters, after they are gone. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from poolguard.guard.locks.backends import Identity, Node
from poolguard.guard.locks.graph import LockGraph, Tree

KEPT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTree:
    """One tree, from when it was first seen to when it was last seen, at its largest. Times: seconds since 1970."""

    first_at: float
    last_at: float
    tree: Tree


class TreeHistory:
    """The last `KEPT` trees. One root that goes on blocking is one tree."""

    def __init__(self, kept: int = KEPT) -> None:
        self._past: deque[SeenTree] = deque(maxlen=kept)
        self._now: dict[tuple[Node, object], SeenTree] = {}

    def see(self, graph: LockGraph, at: float) -> None:
        """Take in what was collected at *at*; an empty graph ends all that stands."""
        standing: dict[tuple[Node, object], SeenTree] = {}
        for tree in graph.trees:
            key = (tree.root, _doing(tree))
            before = self._now.pop(key, None)
            if before is None:
                standing[key] = SeenTree(first_at=at, last_at=at, tree=tree)
            else:
                larger = tree if tree.waiters >= before.tree.waiters else before.tree
                standing[key] = replace(before, last_at=at, tree=larger)
        self._past.extend(self._now.values())
        self._now = standing

    def __iter__(self) -> Iterator[SeenTree]:
        """Newest first; what still stands before what is over."""
        yield from self._now.values()
        yield from reversed(self._past)


def _doing(tree: Tree) -> object:
    """What tells one transaction of a backend from its next."""
    identity: Identity | None = tree.backend.identity if tree.backend is not None else None
    return (identity.backend_start, identity.xact_start) if identity is not None else None
