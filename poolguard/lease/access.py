"""Whether PostgreSQL can be asked about leases now, and whose turn it is."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from poolguard.core.clock import Clock
from poolguard.core.errors import LeaseUnavailable, LeaseUnknown, PoolguardError, ShuttingDown
from poolguard.lease.gate import Gate
from poolguard.lease.store import Store

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 4.0
"""What one request may take, its wait for a turn and further attempts included."""
QUIET_SECONDS: Final = 5.0
AWAY_SECONDS: Final = 12.0
"""PostgreSQL counts as away when it has not answered for so long: two attempts, and what they may take."""
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Between attempts to make the table usable; the last one repeats."""


class Access:
    """The way to the store. Its two coroutines without an end, `prepare` and `ask_again`, are run by the manager."""

    def __init__(self, store: Store, clock: Clock, *, connections: int) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._gate: Final = Gate(connections)
        self._usable: Final = asyncio.Event()
        self._answered_at = float("-inf")
        self._stopped = False
        self.last_error = ""
        """Why the store can't be used; empty while it can. Holds no secret."""

    @property
    def ready(self) -> bool:
        """Whether the table has been found usable, and PostgreSQL has answered of late."""
        return self._usable.is_set() and self._clock.monotonic() - self._answered_at < AWAY_SECONDS

    async def wait_until_usable(self) -> None:
        """Return once the table has been found usable."""
        await self._usable.wait()

    @asynccontextmanager
    async def turn(self, name: str | None, *, urgent: bool) -> AsyncIterator[float]:
        """Wait for a turn; it ends with the block, which is told its deadline (monotonic).

        *name* None: about no lease in particular. Raises LeaseUnavailable, LeaseBusy, ShuttingDown.
        """
        if self._stopped:
            raise ShuttingDown("poolguard has stopped")
        deadline = self._clock.monotonic() + REQUEST_SECONDS
        if not self._usable.is_set():
            raise LeaseUnavailable("leases can't be used yet: nothing was changed", detail=self.last_error)
        async with self._gate.turn(name, urgent=urgent, seconds=REQUEST_SECONDS):
            yield deadline
            self._answered_at = self._clock.monotonic()

    async def prepare(self) -> None:
        """Try until the table can be used."""
        for attempt in range(2**31):
            try:
                await self._store.prepare()
            except (LeaseUnavailable, LeaseUnknown) as error:
                told = ". ".join(part.rstrip(".") for part in (error.message, error.detail, error.hint) if part)
                if told != self.last_error:
                    log.warning("leases can't be used yet", extra={"reason": told})
                self.last_error = told
                pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                await self._clock.sleep_until(self._clock.monotonic() + pause)
            else:
                self.last_error = ""
                self._answered_at = self._clock.monotonic()
                self._usable.set()
                log.info("leases ready")
                return

    async def ask_again(self) -> None:
        """Ask PostgreSQL something from time to time while nobody else does: so that its absence is noticed."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + QUIET_SECONDS)
            if self._usable.is_set() and self._clock.monotonic() - self._answered_at >= QUIET_SECONDS:
                with contextlib.suppress(PoolguardError):
                    async with self.turn(None, urgent=False) as deadline:
                        await self._store.read_some([], deadline=deadline)

    def stop(self) -> None:
        """Let nobody through any more."""
        self._stopped = True
