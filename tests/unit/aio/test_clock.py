import asyncio
import time

from poolguard.aio.clock import SystemClock
from poolguard.core.clock import Clock


def test_it_is_a_clock_that_shows_the_systems_times() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), time.time()
    shown = clock.monotonic(), clock.boottime(), clock.wall()
    after = time.monotonic(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), time.time()
    assert all(low <= value <= high for low, value, high in zip(before, shown, after, strict=True))


async def test_sleeping_ends_at_the_deadline_and_not_before(loop_kind: str) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + 0.02
    await clock.sleep_until(deadline)
    # A loop's timers are as coarse as its clock: uvloop's has milliseconds.
    assert clock.monotonic() >= deadline - 0.002, loop_kind


async def test_a_deadline_in_the_past_gives_others_one_turn(loop_kind: str) -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append(loop_kind)

    task = asyncio.ensure_future(other())
    await SystemClock().sleep_until(0.0)
    assert turns == [loop_kind]
    await task
