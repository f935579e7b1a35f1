"""The lock graph becomes readings."""

from poolguard.guard.locks.roots import RootKind
from poolguard.guard.locks.state import LockState, Tier
from poolguard.metrics import catalogue as c
from poolguard.metrics.catalogue import Metric
from poolguard.metrics.lock_readings import lock_readings
from tests.unit.guard.locks.builders import backend, graph_of, wait


def told(metric: Metric, locks: LockState) -> dict[tuple[str, ...], object]:
    return {reading.labels: reading.value for reading in lock_readings(locks) if reading.metric is metric}


def test_roots_are_counted_by_what_they_do_and_all_kinds_are_there() -> None:
    locks = LockState()
    locks.publish(graph_of([wait(2, 1, seconds=4), wait(3, 1)], backend(1, "idle in transaction")), 1.0)
    roots = told(c.ROOT_BLOCKERS, locks)
    assert roots[RootKind.LEAK.value,] == 1
    assert len(roots) == len(RootKind)
    assert told(c.LOCK_WAITERS, locks) == {(): 2}
    assert told(c.LONGEST_LOCK_WAIT, locks) == {(): 4.0}
    assert told(c.BLOCKED_BY_ROOT, locks) == {(): 2}


def test_what_may_be_seen_is_a_fact_with_labels() -> None:
    locks = LockState()
    assert told(c.UPSTREAM_INFO, locks) == {("", "unknown", "false"): 1}
    locks.tier = Tier(server_version="15.4", sees_all=True, pid_opaque=True)
    assert told(c.UPSTREAM_INFO, locks) == {("15.4", "sees_all", "true"): 1}
