"""Time as an argument: whatever decides is told `now`, whatever waits is given a Clock."""

from typing import Protocol


class Clock(Protocol):
    """Where time comes from. `aio.clock.SystemClock` in production, a manual one in tests."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back. Deadlines and ages are on this one."""
        ...

    def boottime(self) -> float:
        """Seconds on a clock that also counts suspend. Trust in a lease is judged on this one."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 (UTC), for people. Nothing is ever decided by it."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return when `monotonic()` has reached *deadline*; at least one turn of the loop later."""
        ...
