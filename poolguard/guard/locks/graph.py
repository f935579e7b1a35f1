"""Waits and backends to trees: a root blocker, and all who wait for it, directly or through others. Pure."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from poolguard.guard.locks.backends import Backend, Node, Wait

MOST_BRANCHES: Final = 500
"""Waiters of one tree that are kept; the numbers count all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One waiter in a tree. It stands under the first of its blockers that is reached from the root."""

    depth: int
    """1 waits for the root itself."""
    last: bool
    """No other branch follows under the same blocker."""
    wait: Wait
    backend: Backend | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A root (it blocks and does not wait) with everybody who waits because of it."""

    root: Node
    backend: Backend | None
    waiters: int
    wait_seconds: float
    """Of all of them together."""
    longest_seconds: float
    branches: tuple[Branch, ...]
    """Depth first: each waiter is followed by those who wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockGraph:
    """All trees, the one with the most waiters first. *cycles* are deadlocks in formation: PostgreSQL ends those."""

    trees: tuple[Tree, ...] = ()
    cycles: tuple[tuple[Node, ...], ...] = ()
    waiters: int = 0
    longest_seconds: float = 0.0


def build(waits: Iterable[Wait], backends: Mapping[int, Backend]) -> LockGraph:
    """Make the graph. Parallel workers count as their leader; nobody waits for itself."""
    leaders = {Node(pid): Node(backend.leader_pid) for pid, backend in backends.items() if backend.leader_pid}
    waiting: dict[Node, Wait] = {}
    blocked_by: dict[Node, dict[Node, None]] = {}
    for wait in waits:
        waiter = leaders.get(Node(wait.pid), Node(wait.pid))
        if waiter not in waiting or wait.seconds > waiting[waiter].seconds:
            waiting[waiter] = wait if waiter.pid == wait.pid else replace(wait, pid=waiter.pid)
        ahead = blocked_by.setdefault(waiter, {})
        ahead.update(dict.fromkeys(leaders.get(node, node) for node in wait.blockers))
        ahead.pop(waiter, None)
    behind: defaultdict[Node, list[Node]] = defaultdict(list)
    for waiter, ahead in blocked_by.items():
        for blocker in ahead:
            behind[blocker].append(waiter)
    roots = [node for node in behind if node not in waiting]
    trees = [_tree(root, behind, waiting, backends) for root in roots]
    trees.sort(key=lambda tree: (-tree.waiters, -tree.wait_seconds, tree.root))
    return LockGraph(
        trees=tuple(trees),
        cycles=tuple(_cycles(blocked_by)),
        waiters=len(waiting),
        longest_seconds=max((wait.seconds for wait in waiting.values()), default=0.0),
    )


def _tree(
    root: Node, behind: Mapping[Node, list[Node]], waiting: Mapping[Node, Wait], backends: Mapping[int, Backend]
) -> Tree:
    children: dict[Node, list[Node]] = {}
    seen, queue = {root}, deque([root])
    while queue:  # breadth first: everybody stands as near to the root as can be
        node = queue.popleft()
        children[node] = [child for child in behind.get(node, ()) if child not in seen]
        children[node].sort(key=lambda child: (-waiting[child].seconds, child))
        seen.update(children[node])
        queue.extend(children[node])
    seen.discard(root)
    seconds = [waiting[node].seconds for node in seen]
    branches: list[Branch] = []
    stack = [(child, 1, place == 0) for place, child in enumerate(reversed(children[root]))]
    while stack and len(branches) < MOST_BRANCHES:
        node, depth, last = stack.pop()
        branches.append(Branch(depth=depth, last=last, wait=waiting[node], backend=backends.get(node.pid)))
        stack += [(child, depth + 1, place == 0) for place, child in enumerate(reversed(children[node]))]
    return Tree(
        root=root,
        backend=backends.get(root.pid) if root.pid else None,
        waiters=len(seen),
        wait_seconds=sum(seconds),
        longest_seconds=max(seconds, default=0.0),
        branches=tuple(branches),
    )


def _cycles(blocked_by: Mapping[Node, Iterable[Node]]) -> list[tuple[Node, ...]]:
    """Strongly connected components of more than one node (R. Tarjan, 1972), without recursion."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    on_stack: set[Node] = set()
    stack: list[Node] = []
    found: list[tuple[Node, ...]] = []
    for start in blocked_by:
        if start in index:
            continue
        work = [(start, iter(blocked_by.get(start, ())))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, ahead = work[-1]
            for other in ahead:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(blocked_by.get(other, ()))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group: list[Node] = []
                    while not group or group[-1] != node:
                        group.append(stack.pop())
                        on_stack.discard(group[-1])
                    if len(group) > 1:
                        found.append(tuple(sorted(group)))
    return found
