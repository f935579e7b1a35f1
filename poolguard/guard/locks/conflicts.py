"""Who blocks whom, out of one reading of pg_locks: for many waiters, where asking for each would cost too much.

Pure. Which modes conflict: PostgreSQL docs, 13.3.1 (Table-Level Locks). pg_locks can't show the order of the queue; the
moment at which each began to wait (14+) stands in for it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from poolguard.guard.locks.backends import Node

_MODES: Final = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_CONFLICTS: Final = {
    "AccessShareLock": (7,),
    "RowShareLock": (6, 7),
    "RowExclusiveLock": (4, 5, 6, 7),
    "ShareUpdateExclusiveLock": (3, 4, 5, 6, 7),
    "ShareLock": (2, 3, 5, 6, 7),
    "ShareRowExclusiveLock": (2, 3, 4, 5, 6, 7),
    "ExclusiveLock": (1, 2, 3, 4, 5, 6, 7),
    "AccessExclusiveLock": (0, 1, 2, 3, 4, 5, 6, 7),
}
CONFLICTS: Final = {mode: frozenset(_MODES[n] for n in others) for mode, others in _CONFLICTS.items()}
"""By the mode that is wanted: the modes that stand in its way."""

MOST_AHEAD: Final = 4
"""Of those who queue before a waiter, the first so many are named. They wait themselves, so that no root is missed, and
what a long queue costs does not grow with its square."""


class Lock(NamedTuple):
    """One row of pg_locks, of an object for which somebody waits."""

    object: str
    """The same text for the same object."""
    holder: Node
    mode: str
    granted: bool
    waited_seconds: float = 0.0


def blockers(locks: Iterable[Lock]) -> dict[int, tuple[Node, ...]]:
    """For each pid that waits, who stands in its way: holders first, then those who queue before it (`MOST_AHEAD`)."""
    by_object: defaultdict[str, list[Lock]] = defaultdict(list)
    for lock in locks:
        by_object[lock.object].append(lock)
    found: dict[int, tuple[Node, ...]] = {}
    for group in by_object.values():
        found |= _in_one_queue(group)
    return found


def _in_one_queue(group: list[Lock]) -> dict[int, tuple[Node, ...]]:
    """`blockers`, for the locks on one object. Goes through the queue once: it may be a thousand long."""
    found: dict[int, tuple[Node, ...]] = {}
    holders: dict[str, tuple[Node, ...]] = {}
    ahead: defaultdict[str, list[Node]] = defaultdict(list)
    for wanted in sorted((lock for lock in group if not lock.granted), key=lambda lock: -lock.waited_seconds):
        against = CONFLICTS.get(wanted.mode, frozenset())
        if wanted.mode not in holders:
            holders[wanted.mode] = tuple(lock.holder for lock in group if lock.granted and lock.mode in against)
        names = dict.fromkeys((*holders[wanted.mode], *ahead[wanted.mode]))
        names.pop(wanted.holder, None)
        found[wanted.holder.pid] = tuple(names)
        for mode in against:  # conflicts go both ways
            if len(ahead[mode]) < MOST_AHEAD:
                ahead[mode].append(wanted.holder)
    return found
