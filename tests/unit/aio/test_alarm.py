"""Sleep that an event may cut short."""

import asyncio

from poolguard.aio.alarm import sleep_until_or
from tests.support.clock import ManualClock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_ends_at_the_deadline() -> None:
    clock, event = ManualClock(), asyncio.Event()
    sleeping = asyncio.ensure_future(sleep_until_or(clock, 1005.0, event))
    await settle()
    await clock.advance(4.9)
    assert not sleeping.done()
    await clock.advance(0.2)
    assert await sleeping is False


async def test_ends_with_the_event_and_leaves_no_task() -> None:
    clock, event = ManualClock(), asyncio.Event()
    sleeping = asyncio.ensure_future(sleep_until_or(clock, 1005.0, event))
    await settle()
    event.set()
    assert await sleeping is True
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_a_deadline_only_the_event_ends_it() -> None:
    event = asyncio.Event()
    sleeping = asyncio.ensure_future(sleep_until_or(ManualClock(), None, event))
    await settle()
    assert not sleeping.done()
    event.set()
    assert await sleeping is True
