"""Turns: bounded, renewals first, one at a time for each lease, and none lost when a waiter gives up."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from poolguard.core.errors import LeaseBusy
from poolguard.lease import gate as gate_module
from poolguard.lease.gate import Gate


async def enter(gate: Gate, name: str | None, *, urgent: bool = False, seconds: float = 5.0) -> AsyncExitStack:
    stack = AsyncExitStack()
    await stack.enter_async_context(gate.turn(name, urgent=urgent, seconds=seconds))
    return stack


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_less_for_what_is_not_urgent() -> None:
    gate = Gate(2)
    first = await enter(gate, "a")
    second = asyncio.ensure_future(enter(gate, "b"))
    await settle()
    assert not second.done()
    renewal = await enter(gate, "c", urgent=True)
    gate.check()
    await renewal.aclose()
    await settle()
    assert not second.done()
    await first.aclose()
    await (await second).aclose()
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_single_connection_serves_both() -> None:
    gate = Gate(1)
    async with await enter(gate, "a"):
        urgent = asyncio.ensure_future(enter(gate, "b", urgent=True))
        await settle()
        assert not urgent.done()
    await (await urgent).aclose()


async def test_renewals_go_before_acquires_that_came_earlier() -> None:
    gate = Gate(1)
    running = await enter(gate, "a")
    order: list[str] = []

    async def go(name: str, *, urgent: bool) -> None:
        async with gate.turn(name, urgent=urgent, seconds=5.0):
            order.append(name)

    waiting = [asyncio.ensure_future(go("acquire", urgent=False)), asyncio.ensure_future(go("renew", urgent=True))]
    await settle()
    await running.aclose()
    await asyncio.gather(*waiting)
    assert order == ["renew", "acquire"]


async def test_a_lease_that_is_being_asked_about_does_not_hold_up_others() -> None:
    gate = Gate(3)
    stuck = await enter(gate, "a", urgent=True)
    same = asyncio.ensure_future(enter(gate, "a", urgent=True))
    await settle()
    assert not same.done()
    await (await enter(gate, "b", urgent=True)).aclose()
    await stuck.aclose()
    await (await same).aclose()
    gate.check()


async def test_a_full_queue_refuses_at_once_and_each_kind_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_WAITING", 2)
    gate = Gate(1)
    running = await enter(gate, "x", urgent=True)
    waiting = [asyncio.ensure_future(enter(gate, f"n{number}")) for number in range(2)]
    await settle()
    with pytest.raises(LeaseBusy, match="wait already"):
        await enter(gate, "y")
    renewal = asyncio.ensure_future(enter(gate, "z", urgent=True))
    await settle()
    await running.aclose()
    await (await renewal).aclose()
    for turn in waiting:
        await (await turn).aclose()
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_turn_that_does_not_come_in_time_is_busy() -> None:
    gate = Gate(1)
    async with await enter(gate, "a"):
        with pytest.raises(LeaseBusy, match="no turn within"):
            await enter(gate, "b", seconds=0.0)
        assert gate.waiting == 0
    assert gate.running == 0


@pytest.mark.parametrize("turns", range(4))
async def test_a_waiter_that_is_cancelled_at_any_point_gives_its_turn_back(turns: int) -> None:
    gate = Gate(1)
    running = await enter(gate, "a")
    doomed = asyncio.ensure_future(enter(gate, "b"))
    next_in_line = asyncio.ensure_future(enter(gate, "c"))
    await settle()
    await running.aclose()  # "b" is let through, and has not run since
    for _ in range(turns):
        await asyncio.sleep(0)
    if not doomed.cancel():
        await (await doomed).aclose()
    else:
        with pytest.raises(asyncio.CancelledError):
            await doomed
    await (await next_in_line).aclose()
    assert (gate.running, gate.waiting) == (0, 0)
    gate.check()
