"""The lock graph: who waits, behind what, and what looking costs. Pure."""

from collections import Counter
from collections.abc import Iterator

from poolguard.guard.locks.roots import RootKind, kind_of
from poolguard.guard.locks.state import LockState
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading


def lock_readings(locks: LockState) -> Iterator[Reading]:
    """Everything that the observer knows and counts."""
    graph, tier = locks.graph, locks.tier
    yield Reading(c.UPSTREAM_INFO, (tier.server_version, tier.name, str(tier.pid_opaque).lower()), 1)
    yield Reading(c.OBSERVER_CONNECTED, (), int(locks.connected))
    yield Reading(c.OBSERVER_FAILURES, (), locks.failures_total)
    yield Reading(c.LOCK_WAITERS, (), graph.waiters)
    yield Reading(c.LONGEST_LOCK_WAIT, (), graph.longest_seconds)
    roots = Counter(dict.fromkeys(RootKind, 0))
    roots.update(kind_of(tree) for tree in graph.trees)
    for kind, number in roots.items():
        yield Reading(c.ROOT_BLOCKERS, (kind.value,), number)
    yield Reading(c.BLOCKED_BY_ROOT, (), max((tree.waiters for tree in graph.trees), default=0))
    yield Reading(c.LOCK_GRAPH_SECONDS, (), locks.collect_seconds)
