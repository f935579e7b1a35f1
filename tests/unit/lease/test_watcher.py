"""Watchers over one table: who is told of what, and how often PostgreSQL is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from poolguard.core.errors import LeaseBusy, LeaseUnavailable
from poolguard.lease import watcher as module
from poolguard.lease.ear import NoEar
from poolguard.lease.terms import Row
from poolguard.lease.watcher import Watcher
from tests.support.clock import ManualClock
from tests.support.leases import row


class Reads:
    """What PostgreSQL would say, and what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    async def __call__(self, names: Sequence[str]) -> Sequence[Row]:
        self.asked.append(sorted(names))
        if self.error is not None:
            raise self.error
        return [self.rows[name] for name in names if name in self.rows]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
async def watcher(reads: Reads, clock: ManualClock) -> AsyncIterator[Watcher]:
    made = Watcher(reads, lambda name: name == "held", clock, NoEar)
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_watchers_of_several_leases_cost_one_question(watcher: Watcher, reads: Reads) -> None:
    reads.rows["a"] = row(name="a")
    with watcher.watch(["a"]) as one, watcher.watch(["a", "b"]) as other:
        await settle()
        assert reads.asked == [["a", "b"]]
        assert one.news.is_set()
        assert other.news.is_set()
        assert one.topic("a").row == reads.rows["a"]
        assert other.topic("b").row is None
    await settle()
    assert len(reads.asked) == 1, "what nobody watches is not looked at"


async def test_a_change_wakes_those_who_watch_it_and_a_renewal_nobody(
    watcher: Watcher, reads: Reads, clock: ManualClock
) -> None:
    reads.rows["a"] = row(name="a", version=1)
    with watcher.watch(["a"]) as watch:
        await settle()
        assert await watch.changed(clock.monotonic())
        reads.rows["a"] = row(name="a", version=1, valid_for_seconds=15.0)
        await clock.advance(0.5)
        assert not watch.news.is_set()
        reads.rows["a"] = row(name="a", version=2)
        await clock.advance(1.0)
        assert watch.news.is_set()


async def test_a_release_that_is_heard_of_is_seen_at_once(watcher: Watcher, reads: Reads, clock: ManualClock) -> None:
    reads.rows["a"] = row(name="a", version=1)
    with watcher.watch(["a"]) as watch:
        for _ in range(10):
            await clock.advance(1.0)
        watch.news.clear()
        reads.rows["a"] = row(name="a", version=2, holder=None)
        watcher.heard("a")
        await settle()
        await clock.advance(0.15)
        assert watch.news.is_set()
        watch.news.clear()
        reads.rows["a"] = row(name="a", version=3)
        watcher.heard(None)
        await settle()
        await clock.advance(0.15)
        assert watch.news.is_set()


async def test_what_a_request_saw_is_news_without_asking(watcher: Watcher, reads: Reads) -> None:
    with watcher.watch(["a"]) as watch:
        await settle()
        watch.news.clear()
        watcher.saw(row(name="a", version=5))
        assert watch.news.is_set()
        assert len(reads.asked) == 1


async def test_a_lease_that_is_held_here_is_looked_at_when_something_is_heard_of_it(
    watcher: Watcher, reads: Reads
) -> None:
    watcher.heard("held")
    watcher.heard("foreign")
    await settle()
    assert reads.asked == [["held"]]


async def test_postgresql_away_is_told_once_and_its_return_too(
    watcher: Watcher, reads: Reads, clock: ManualClock
) -> None:
    reads.error = LeaseUnavailable("away")
    with watcher.watch(["a"]) as watch:
        await settle()
        assert watch.news.is_set()
        assert watch.failure is reads.error
        watch.news.clear()
        await clock.advance(5.0)
        assert not watch.news.is_set()
        reads.error = None
        await clock.advance(1.0)
        assert watch.news.is_set()
        assert watch.failure is None


async def test_the_number_of_watchers_has_a_limit(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHES", 1)
    with watcher.watch(["a"]), pytest.raises(LeaseBusy), watcher.watch(["b"]):
        pass
    with watcher.watch(["b"]):
        assert watcher.wanted.is_set()
