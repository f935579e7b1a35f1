"""What is known of locks now: written by the observer, read by guard, metrics and web. Pure; one door, `publish`."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from poolguard.core.histogram import WAIT_BOUNDS, Histogram
from poolguard.core.ids import TransactionId
from poolguard.guard.locks.backends import Backend, Wait
from poolguard.guard.locks.graph import LockGraph, Tree
from poolguard.guard.locks.history import TreeHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What PostgreSQL lets our role see and do. More is better, none is required."""

    server_version: str = ""
    sees_all: bool = False
    """pg_read_all_stats: what other roles' backends do."""
    may_signal: bool = False
    """pg_signal_backend: other roles' backends can be ended."""
    pid_opaque: bool = False
    """Another pooler stands in between: pids are its own, so that backends and our transactions can't be joined."""

    @property
    def name(self) -> str:
        """`unknown` (not connected yet), `own`, `sees_all` or `signals`."""
        if not self.server_version:
            return "unknown"
        return "signals" if self.may_signal else "sees_all" if self.sees_all else "own"


@dataclass(frozen=True, slots=True)
class Blocking:
    """How many wait because of one transaction of ours, and how long the first of them has."""

    sessions: int
    seconds: float


class LockState:
    """The latest graph, and what follows from it."""

    def __init__(self) -> None:
        self.tier = Tier()
        self.connected = False
        self.graph = LockGraph()
        self.at = 0.0
        """When the graph was read, seconds since 1970; 0: never yet."""
        self.history: Final = TreeHistory()
        self.blocking: Mapping[TransactionId, Blocking] = {}
        """Our transactions at the root of a tree."""
        self.blocked: Mapping[TransactionId, Wait] = {}
        """Our transactions that wait for a lock."""
        self._tree_of_waiter: Mapping[TransactionId, int] = {}
        """Of those, the worst tree in which each stands."""
        self.failures_total = 0
        """Times that the graph could not be read."""
        self.collect_seconds: Final = Histogram(WAIT_BOUNDS)

    def publish(self, graph: LockGraph, at: float) -> None:
        """*graph* is what PostgreSQL said at *at*; an empty one means that nobody waits, or that nobody can tell."""
        if not graph.waiters and not self.graph.waiters:
            return
        self.graph, self.at = graph, at
        self.history.see(graph, at)
        self.blocking = {
            tree.backend.transaction: Blocking(tree.waiters, tree.longest_seconds)
            for tree in graph.trees
            if tree.backend is not None and tree.backend.transaction is not None
        }
        self.blocked = {
            branch.backend.transaction: branch.wait
            for tree in graph.trees
            for branch in tree.branches
            if branch.backend is not None and branch.backend.transaction is not None
        }
        self._tree_of_waiter = {
            branch.backend.transaction: number
            for number, tree in reversed(list(enumerate(graph.trees)))
            for branch in tree.branches
            if branch.backend is not None and branch.backend.transaction is not None
        }

    def tree_of(self, root: TransactionId) -> Tree | None:
        """Who waits because of *root*, a transaction of ours; None while nobody is known to."""
        return next((tree for tree in self.graph.trees if _is(tree.backend, {root})), None)

    def tree_behind(self, waiting: Collection[TransactionId]) -> Tree | None:
        """The tree in which most of *waiting* stand, transactions of ours; None if none of them stands in any."""
        return self._behind(waiting, more_than=0)

    def root_behind(self, ours: Collection[TransactionId]) -> Tree | None:
        """The tree in which most of *ours* wait; None if most of them do not wait in one."""
        return self._behind(ours, more_than=len(ours) / 2)

    def _behind(self, ours: Collection[TransactionId], *, more_than: float) -> Tree | None:
        # Asked for each refusal, so no tree is walked. Of two that hold as many the worse is the first.
        counts = Counter(sorted(self._tree_of_waiter[one] for one in ours if one in self._tree_of_waiter))
        for number, waiting in counts.most_common(1):
            if waiting > more_than:
                return self.graph.trees[number]
        return None


def _is(backend: Backend | None, ours: Collection[TransactionId]) -> bool:
    return backend is not None and backend.transaction in ours
