"""`async with client.hold_async(...)` against a real daemon."""

import asyncio

import pytest

from poolguard.client import Term
from poolguard.core.errors import LeaseLost
from tests.support.eventually import eventually_async
from tests.support.sidecars import Sidecar

TTL = 2.0


async def test_a_lease_is_held_for_the_block_and_given_back_at_its_end(sidecar: Sidecar) -> None:
    async with sidecar.client().hold_async("async-block", holder="one") as held:
        assert held.trusted
        assert sidecar.holder_of("async-block") == "one"
    assert sidecar.holder_of("async-block") is None


async def test_it_is_renewed_for_as_long_as_the_block_lasts(sidecar: Sidecar) -> None:
    async with sidecar.client().hold_async("async-long", holder="one", ttl_seconds=TTL) as held:
        first = held.term.trusted_until
        await eventually_async(lambda: held.term.trusted_until > first + TTL, within=10.0)
        assert held.trusted


async def test_the_block_is_cancelled_when_the_lease_is_lost(sidecar: Sidecar) -> None:
    reached = False
    with pytest.raises(LeaseLost):
        async with sidecar.client().hold_async("async-lost", holder="one", ttl_seconds=TTL):
            await asyncio.to_thread(sidecar.force, "async-lost")
            await asyncio.Event().wait()
            reached = True
    assert not reached
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one_and_gives_the_lease_back(sidecar: Sidecar) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with sidecar.client().hold_async("async-cancelled", holder="one"):
            inside.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert sidecar.holder_of("async-cancelled") is None


async def test_a_contender_that_waits_can_be_cancelled_and_times_out(sidecar: Sidecar) -> None:
    async with sidecar.client().hold_async("async-turn", holder="one"):
        with pytest.raises(TimeoutError, match="was not had within"):
            async with sidecar.client().hold_async("async-turn", holder="two", wait_seconds=0.2):
                pass
    async with sidecar.client().hold_async("async-turn", holder="two", wait_seconds=10) as held:
        assert held.holder == "two"


async def test_what_a_cancelled_contender_still_gets_is_given_back(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding = sidecar.client().hold_async("async-late", holder="one")
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    real = holding._acquire

    def acquire(request_id: str) -> Term:
        loop.call_soon_threadsafe(asked.set)
        return real(request_id=request_id)

    monkeypatch.setattr(holding, "_acquire", acquire)
    entering = asyncio.create_task(holding.__aenter__())
    await asked.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering

    def given_back() -> bool:
        with sidecar.client() as client:
            lease = client.get("async-late")
        return lease is not None and lease["holderIdentity"] is None

    await eventually_async(lambda: asyncio.to_thread(given_back))
