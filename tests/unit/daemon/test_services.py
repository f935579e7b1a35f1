import asyncio
import itertools
import logging
import random

import pytest

from poolguard.daemon.services import Services


class Part:
    """A service that writes down what is asked of it."""

    def __init__(self, name: str, calls: list[str], *, fails: str = "", waits: str = "") -> None:
        self._name = name
        self._calls = calls
        self._fails = fails
        self._waits = waits
        self.reached = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        await self._do("start")

    async def drain(self, deadline: float) -> None:
        await self._do("drain")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, what: str) -> None:
        self._calls.append(f"{what} {self._name}")
        self.reached.set()
        await asyncio.sleep(0)
        if self._waits == what:
            await asyncio.Event().wait()
        if self._fails == what:
            raise OSError(f"{self._name} can't {what}")


def parts(calls: list[str], number: int = 3, **of_second: str) -> list[Part]:
    return [Part(name, calls, **(of_second if name == "b" else {})) for name in "abcdefgh"[:number]]


async def test_they_start_in_order_and_stop_in_reverse() -> None:
    calls: list[str] = []
    services = Services(parts(calls))
    await services.start()
    await services.stop()
    assert calls == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_a_failure_in_the_middle_stops_those_before_it_and_is_raised() -> None:
    calls: list[str] = []
    services = Services(parts(calls, fails="start"))
    with pytest.raises(OSError, match="b can't start"):
        await services.start()
    assert calls == ["start a", "start b", "stop a"]
    await services.stop()
    assert calls == ["start a", "start b", "stop a"], "what has stopped is not stopped again"


async def test_a_start_that_is_cancelled_stops_those_before_it() -> None:
    calls: list[str] = []
    made = parts(calls, waits="start")
    starting = asyncio.create_task(Services(made).start())
    await made[1].reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert calls == ["start a", "start b", "stop a"]


async def test_stop_goes_on_past_errors_and_logs_them(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    services = Services(parts(calls, fails="stop"))
    await services.start()
    await services.stop()
    assert calls[3:] == ["stop c", "stop b", "stop a"]
    [told] = caplog.records
    assert (told.levelno, told.__dict__["part"]) == (logging.ERROR, "b")
    assert told.exc_info is not None


async def test_drain_asks_all_at_once_and_logs_who_could_not(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    services = Services(parts(calls, fails="drain"))
    await services.start()
    await services.drain(0.0)
    assert sorted(calls[3:]) == ["drain a", "drain b", "drain c"]
    [told] = caplog.records
    assert (told.getMessage(), told.__dict__["part"]) == ("a part could not be drained", "b")


async def test_only_what_has_started_is_drained() -> None:
    calls: list[str] = []
    services = Services(parts(calls))
    await services.drain(0.0)
    await services.stop()
    assert calls == []


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_fails_or_is_cancelled_everything_that_started_stops_once_in_reverse(seed: int) -> None:
    lot = random.Random(seed)
    calls: list[str] = []
    made = [
        Part(name, calls, fails=lot.choice(["", "", "", "start", "stop", "drain"]))
        for name in "abcdefgh"[: lot.randint(1, 8)]
    ]
    services = Services(made)
    starting = asyncio.create_task(services.start())
    for _ in range(lot.choice([0, 1, 3, 5, 100])):
        await asyncio.sleep(0)
    starting.cancel()
    [outcome] = await asyncio.gather(starting, return_exceptions=True)
    if outcome is None:
        await services.drain(0.0)
    await services.stop()
    await services.stop()

    tried = [call.removeprefix("start ") for call in calls if call.startswith("start")]
    stopped = [call.removeprefix("stop ") for call in calls if call.startswith("stop")]
    started = tried if outcome is None else tried[:-1]
    # A part that was cancelled in its start, or failed, has cleaned up after itself: the contract of Service.
    assert stopped == started[::-1]
    assert all(before < after for before, after in itertools.pairwise(started)), "in order"
