"""Loop lag is how late a timer woke."""

import asyncio
from math import inf

import pytest

from poolguard.metrics.loop_lag import LoopLag
from tests.support.clock import ManualClock


class LateClock(ManualClock):
    """Wakes each sleeper late, by what the test says."""

    late_seconds = 0.0

    async def sleep_until(self, deadline: float) -> None:
        await super().sleep_until(deadline)
        self._now += self.late_seconds


async def test_a_timer_that_woke_late_is_counted_with_its_lateness() -> None:
    clock = LateClock()
    lag = LoopLag(clock, every_seconds=0.1)
    await lag.start()
    await asyncio.sleep(0)
    clock.late_seconds = 0.02
    await clock.advance(0.1)
    await lag.stop()

    assert lag.latest_seconds == pytest.approx(0.02)
    upto = dict(lag.histogram.cumulative())
    assert upto[0.01] == 0
    assert upto[0.025] == upto[inf] == 1


async def test_one_measure_is_taken_in_each_interval() -> None:
    clock = ManualClock()
    lag = LoopLag(clock, every_seconds=0.1)
    await lag.start()
    await asyncio.sleep(0)
    await clock.advance(1.05)
    await lag.stop()

    assert lag.histogram.cumulative()[-1] == (inf, 10)


async def test_stop_leaves_no_task_and_may_come_twice() -> None:
    before = asyncio.all_tasks()
    lag = LoopLag(ManualClock())
    await lag.start()
    await lag.stop()
    await lag.stop()

    assert asyncio.all_tasks() == before
