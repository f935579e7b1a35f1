"""Sleep that an event may cut short."""

import asyncio

from poolguard.core.clock import Clock


async def sleep_until_or(clock: Clock, deadline: float | None, event: asyncio.Event) -> bool:
    """Return when *event* is set (True) or the monotonic *deadline* has come (False); without one, only the former."""
    if event.is_set() or deadline is None:
        return await event.wait()
    sleeping = asyncio.ensure_future(clock.sleep_until(deadline))
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waiting.cancel()
    return event.is_set()
