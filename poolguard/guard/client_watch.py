"""Looks at all sessions once a second, in slices, and keeps the book of client processes. A `Service`."""

import asyncio
import contextlib
from typing import Final

from poolguard.core.clock import Clock
from poolguard.guard.clients import ClientBook, ClientKey, tally
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase

EVERY_SECONDS: Final = 1.0
SLICE: Final = 500
"""Sessions that are looked at before the event loop turns: less than 1 ms."""


class ClientWatch:
    """Keeps `book` up to date with *ledger*."""

    name = "client watch"

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.book: Final = ClientBook()
        self._ledger = ledger
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def drain(self, deadline: float) -> None:
        """Nothing to finish."""

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def look(self) -> None:
        """Look at all sessions that there are now."""
        entries = list(self._ledger.sessions.values())
        counts: dict[ClientKey, dict[tuple[str, Phase], int]] = {}
        for start in range(0, len(entries), SLICE):
            tally(counts, entries[start : start + SLICE])
            await asyncio.sleep(0)
        self.book.see(counts, self._clock.monotonic())

    async def _run(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + EVERY_SECONDS)
            await self.look()
