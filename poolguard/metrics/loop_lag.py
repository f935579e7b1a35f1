"""How late the event loop wakes a timer: the time for which something blocked it. `watchdog` says what."""

import asyncio
import contextlib

from poolguard.core.clock import Clock
from poolguard.core.histogram import WAIT_BOUNDS, Histogram


class LoopLag:
    """A service: sets a timer each *every_seconds* and counts by how much it was late."""

    name = "loop lag"

    def __init__(self, clock: Clock, *, every_seconds: float = 0.1) -> None:
        self._clock = clock
        self._every = every_seconds
        self._task: asyncio.Task[None] | None = None
        self.histogram = Histogram(WAIT_BOUNDS)
        """Seconds. Up to 1 ms is the timer's own grain."""
        self.latest_seconds = 0.0

    async def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def drain(self, deadline: float) -> None:
        """Nothing to finish: it measures to the end."""

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            due = self._clock.monotonic() + self._every
            await self._clock.sleep_until(due)
            self.latest_seconds = max(0.0, self._clock.monotonic() - due)
            self.histogram.observe(self.latest_seconds)
