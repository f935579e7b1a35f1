"""What blocks the event loop is found and named."""

import asyncio
import logging
import threading
import time

import pytest

from poolguard.metrics import watchdog as module
from poolguard.metrics.watchdog import Watchdog, place_of, stack_of
from tests.support.eventually import eventually_async


def block_until_seen(dog: Watchdog) -> None:
    """Keep the loop until the thread has looked at it: this is the fault."""
    give_up_at = time.monotonic() + 10.0
    while not dog._found and time.monotonic() < give_up_at:
        time.sleep(0.001)


async def test_a_block_is_told_with_its_place_and_counted(caplog: pytest.LogCaptureFixture, loop_kind: str) -> None:
    dog = Watchdog(late_seconds=0.02)
    await dog.start()
    with caplog.at_level(logging.WARNING):
        block_until_seen(dog)
        await eventually_async(lambda: dog.blocked.total() > 0)
    await dog.stop()
    (record,) = [one for one in caplog.records if one.message == "event loop was blocked"]
    stack = " ".join(record.stack)  # type: ignore[attr-defined]
    assert "test_watchdog.py" in stack
    assert "block_until_seen" in stack
    assert record.blocked_seconds >= 0.02  # type: ignore[attr-defined]


class CountsToTwo(Watchdog):
    """While `twice` is awaited nothing but the beat runs on the loop."""

    def __init__(self, *, late_seconds: float) -> None:
        super().__init__(late_seconds=late_seconds)
        self.twice = asyncio.Event()

    def beat_in(self, seconds: float) -> None:
        assert self._timer is not None
        self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._beat, loop)

    def _came_back(self, now: float) -> None:
        super()._came_back(now)
        if self.blocked.total() > 1:
            self.twice.set()


async def test_a_loop_on_which_nothing_ran_blocked_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, loop_kind: str
) -> None:
    """A process without CPU looks like that: late, and waiting for its sockets."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.2)  # the loop rests meanwhile, and so is late by its own clock
    dog = CountsToTwo(late_seconds=-0.15)
    await dog.start()
    # The thread looks as often as the loop beats: half a beat apart, so that it doesn't meet the beat itself.
    dog.beat_in(0.1)
    await asyncio.wait_for(dog.twice.wait(), 10.0)
    await dog.stop()
    assert set(dog.blocked) == {module.NO_CPU}
    assert "event loop was blocked" not in caplog.text


def test_only_a_long_lack_of_cpu_is_told_and_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog()
    for late in (module.NO_CPU_SECONDS - 0.1, module.NO_CPU_SECONDS + 0.1):
        dog._found = (module.NO_CPU,)
        dog._came_back(late)
    (record,) = caplog.records
    assert "raise its request" in record.message
    assert dog.blocked == {module.NO_CPU: 2}


async def test_many_blocks_are_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(late_seconds=0.02)
    await dog.start()
    for number in range(1, 4):
        block_until_seen(dog)
        await eventually_async(lambda: dog.blocked.total() >= number)  # noqa: B023 - awaited at once
    await dog.stop()
    assert sum(record.message == "event loop was blocked" for record in caplog.records) == 1


async def test_a_loop_that_does_not_come_back_is_told_of_from_outside(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.05)
    dog = Watchdog(late_seconds=0.02)
    await dog.start()
    give_up_at = time.monotonic() + 10.0
    while "event loop is stuck" not in caplog.text and time.monotonic() < give_up_at:
        time.sleep(0.001)  # noqa: ASYNC251 - the loop is blocked on purpose
    await dog.stop()
    assert "event loop is stuck" in caplog.text


async def test_a_loop_that_turns_is_left_alone_and_nothing_is_left_running() -> None:
    dog = Watchdog(late_seconds=60.0)
    await dog.start()
    await dog.stop()
    await dog.stop()
    assert dog.blocked.total() == 0
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_the_place_is_the_innermost_function_of_our_own() -> None:
    stack = ("poolguard/daemon/main.py:10 serve", "poolguard/relay/pipe.py:7 walk", "json/encoder.py:3 encode")
    assert place_of(stack) == "poolguard/relay/pipe.py walk"
    assert place_of(("a/b.py:1 f", "c/d.py:2 g")) == "c/d.py g"


def test_a_thread_that_is_gone_has_no_stack() -> None:
    assert stack_of(-1) == ("?:0 ?",)
    assert any("test_a_thread_that_is_gone" in line for line in stack_of(threading.get_ident()))


def test_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PLACES", 1)
    dog = Watchdog()
    for function in ("f", "g", "h", "f"):
        dog._found = (f"a/b.py:1 {function}",)
        dog._came_back(0.0)
    assert dog.blocked == {"a/b.py f": 2, "other": 2}


async def test_it_may_be_stopped_before_it_was_started() -> None:
    await asyncio.wait_for(Watchdog().stop(), 5.0)
