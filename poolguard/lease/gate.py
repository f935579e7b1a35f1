"""Who may ask PostgreSQL next: a bounded queue; renewals go first, and no lease is asked about twice at once."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from poolguard.core.errors import LeaseBusy

MAX_WAITING: Final = 128
"""Of each kind: a flood of acquires can't crowd out renewals."""


@dataclass(eq=False, slots=True)
class _Waiter:
    name: str | None
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gate:
    """Lets *size* requests through at once, of those that are not urgent one less: the spare is for renewals."""

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._ordinary_size: Final = max(1, size - 1)
        self._urgent: Final[deque[_Waiter]] = deque()
        self._ordinary: Final[deque[_Waiter]] = deque()
        self._running = 0
        self._running_ordinary = 0
        self._busy_names: Final[set[str]] = set()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._urgent) + len(self._ordinary)

    @property
    def running(self) -> int:
        """How many were let through and are not back."""
        return self._running

    @asynccontextmanager
    async def turn(self, name: str | None, *, urgent: bool, seconds: float) -> AsyncIterator[None]:
        """Wait for a turn, at most *seconds*; it ends with the block. *name* None: about no lease in particular.

        Raises LeaseBusy if the queue is full, or the turn did not come in time.
        """
        queue = self._urgent if urgent else self._ordinary
        if len(queue) >= MAX_WAITING:
            raise LeaseBusy(f"{MAX_WAITING} lease requests wait already: nothing was done")
        waiter = _Waiter(name)
        queue.append(waiter)
        self._admit()
        try:
            async with asyncio.timeout(seconds):
                await waiter.admitted
        except BaseException as error:
            self._give_up(waiter, queue, urgent=urgent)
            if isinstance(error, TimeoutError):
                raise LeaseBusy(f"no turn within {seconds:.1f}s, others were first: nothing was done") from None
            raise
        try:
            yield
        finally:
            self._leave(waiter, urgent=urgent)

    def _give_up(self, waiter: _Waiter, queue: deque[_Waiter], *, urgent: bool) -> None:
        if waiter.admitted.done() and not waiter.admitted.cancelled():
            # Let through in the same turn of the loop in which it gave up: nobody else would give this turn back.
            self._leave(waiter, urgent=urgent)
        else:
            waiter.admitted.cancel()
            queue.remove(waiter)

    def _leave(self, waiter: _Waiter, *, urgent: bool) -> None:
        self._running -= 1
        if not urgent:
            self._running_ordinary -= 1
        if waiter.name is not None:
            self._busy_names.remove(waiter.name)
        self._admit()

    def _admit(self) -> None:
        while self._running < self._size and (waiter := self._next(self._urgent)):
            self._let_through(waiter)
        while (
            self._running < self._size
            and self._running_ordinary < self._ordinary_size
            and (waiter := self._next(self._ordinary))
        ):
            self._running_ordinary += 1
            self._let_through(waiter)

    def _next(self, queue: deque[_Waiter]) -> _Waiter | None:
        for waiter in queue:
            # Cancelled by the loop, and not yet gone: it takes itself out.
            if waiter.name not in self._busy_names and not waiter.admitted.done():
                queue.remove(waiter)
                return waiter
        return None

    def _let_through(self, waiter: _Waiter) -> None:
        self._running += 1
        if waiter.name is not None:
            self._busy_names.add(waiter.name)
        waiter.admitted.set_result(None)

    def check(self) -> None:
        """Raise AssertionError if the counts contradict each other."""
        assert 0 <= self._running_ordinary <= self._running <= self._size, "more let through than there is room"
        assert self._running_ordinary <= self._ordinary_size, "the spare went to one that is not urgent"
        assert len(self._busy_names) <= self._running, "a lease is busy that nobody asks about"
