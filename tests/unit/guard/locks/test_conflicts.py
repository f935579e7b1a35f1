"""Who blocks whom, out of one reading of pg_locks."""

import pytest

from poolguard.guard.locks.backends import Node
from poolguard.guard.locks.conflicts import CONFLICTS, MOST_AHEAD, Lock, blockers


def held(pid: int, mode: str, on: str = "a") -> Lock:
    return Lock(on, Node(pid), mode, granted=True)


def wanted(pid: int, mode: str, seconds: float = 1.0, on: str = "a") -> Lock:
    return Lock(on, Node(pid), mode, granted=False, waited_seconds=seconds)


def test_conflicts_go_both_ways() -> None:
    assert all(mode in CONFLICTS[other] for mode, others in CONFLICTS.items() for other in others)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("AccessShareLock", 1), ("RowShareLock", 2), ("RowExclusiveLock", 4), ("ShareUpdateExclusiveLock", 5),
        ("ShareLock", 5), ("ShareRowExclusiveLock", 6), ("ExclusiveLock", 7), ("AccessExclusiveLock", 8),
    ],
)  # fmt: skip
def test_each_mode_has_as_many_conflicts_as_the_manual_says(mode: str, number: int) -> None:
    """PostgreSQL docs, table 13.2."""
    assert len(CONFLICTS[mode]) == number


def test_the_holder_of_a_conflicting_lock_blocks() -> None:
    found = blockers([held(1, "ExclusiveLock"), held(2, "AccessShareLock"), wanted(3, "RowExclusiveLock")])
    assert found == {3: (Node(1),)}


def test_who_queues_before_blocks_too_if_their_modes_conflict() -> None:
    """A reader behind a waiting ALTER TABLE waits for it, although it holds nothing yet."""
    found = blockers(
        [held(1, "AccessShareLock"), wanted(2, "AccessExclusiveLock", 5.0), wanted(3, "AccessShareLock", 2.0)]
    )
    assert found == {2: (Node(1),), 3: (Node(2),)}


def test_objects_are_told_apart() -> None:
    assert blockers([held(1, "ExclusiveLock", "a"), wanted(2, "ExclusiveLock", on="b")]) == {2: ()}


def test_nobody_blocks_itself() -> None:
    assert blockers([held(1, "ShareLock"), wanted(1, "ExclusiveLock")]) == {1: ()}


def test_a_mode_that_is_not_known_is_blocked_by_nobody_known() -> None:
    assert blockers([held(1, "ShareLock"), wanted(2, "SIReadLock")]) == {2: ()}


def test_a_long_queue_costs_no_square() -> None:
    """Check 8: the first few who queue are named, and that loses nobody: they wait themselves."""
    queue = [wanted(pid, "ExclusiveLock", seconds=9000.0 - pid) for pid in range(2, 1002)]
    found = blockers([held(1, "ExclusiveLock"), *queue])
    assert found[2] == (Node(1),)
    assert found[1001] == (Node(1), Node(2), Node(3), Node(4), Node(5))
    assert MOST_AHEAD == 4
    assert sum(map(len, found.values())) <= 1000 * (MOST_AHEAD + 1)
