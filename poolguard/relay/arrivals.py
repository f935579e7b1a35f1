"""Clients that have no session yet: how many, and who gives way to whom."""

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from poolguard.core.errors import TooManyClients

GRACE_SECONDS: Final = 1.0
"""A login that is younger gives way to nobody: a herd of good clients must not end each other."""


class Arrival(Protocol):
    """One that logs in."""

    def give_way(self) -> None:
        """Others want to log in, and this has taken long enough."""
        ...


A = TypeVar("A", bound=Arrival)


class Arrivals(Generic[A]):
    """Whoever opens connections and says nothing could keep everybody out for as long as a login may take.

    So there are at most so many that have not proven who they are, and the oldest of them makes room.
    """

    def __init__(self) -> None:
        self._unproven: dict[A, float] = {}
        """Oldest first, and since when (monotonic)."""
        self._proven: set[A] = set()

    def __iter__(self) -> Iterator[A]:
        return iter([*self._unproven, *self._proven])

    def come(self, arrival: A, now: float, *, limit: int) -> None:
        """Take *arrival* in. Raises TooManyClients if there are *limit* and none has had its time."""
        if len(self._unproven) >= limit:
            oldest, since = next(iter(self._unproven.items()))
            if now - since < GRACE_SECONDS:
                raise TooManyClients(
                    f"too many clients are logging in: limits.max_logins is {limit}", hint="Connect again."
                )
            self._unproven.pop(oldest)
            oldest.give_way()
        self._unproven[arrival] = now

    def prove(self, arrival: A, *, sessions: int, limit: int) -> None:
        """*arrival* is who it says. Raises TooManyClients if it would be one more than *limit*, with *sessions*."""
        if len(self._proven) + sessions >= limit:
            raise TooManyClients(
                f"sorry, too many clients already: limits.max_clients is {limit}",
                hint="Raise limits.max_clients in poolguard's settings, or use a smaller pool in the application.",
            )
        self._unproven.pop(arrival, None)
        self._proven.add(arrival)

    def go(self, arrival: A) -> None:
        """*arrival* has a session now, or has gone. Safe to repeat."""
        self._unproven.pop(arrival, None)
        self._proven.discard(arrival)
