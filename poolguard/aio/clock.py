"""The system's clocks behind `core.clock.Clock`."""

import asyncio
import time


class SystemClock:
    """Real time."""

    def monotonic(self) -> float:
        """Seconds on CLOCK_MONOTONIC."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds on CLOCK_BOOTTIME where there is one (Linux): it goes on while the machine is suspended."""
        return time.clock_gettime(_BOOTTIME)

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    async def sleep_until(self, deadline: float) -> None:
        """Sleep to *deadline* on the monotonic clock."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))


_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
