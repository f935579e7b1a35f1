"""Rules of a pool's shell: what becomes of servers and waiters as time passes and openings fail."""

from collections.abc import AsyncIterator

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import ShuttingDown, UpstreamRefused, UpstreamUnavailable
from poolguard.pool.pool import FAILOVER_PAUSE, HOPELESS_PAUSE, LIFETIME_JITTER, RESTED_SECONDS, Pool
from poolguard.pool.snapshot import CloseReason
from poolguard.pool.state import Refusal
from poolguard.settings.model import Pool as PoolSettings
from tests.support.clock import ManualClock
from tests.unit.pool.fakes import FakeServer, FakeWaiter, Opener, held


class House:
    """A pool with everything around it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.failures: list[BaseException] = []
        self.tasks = TaskOwner(lambda _, error: self.failures.append(error))
        self.opener = Opener()
        self.pools: list[Pool[FakeServer]] = []

    def pool(self, settings: PoolSettings) -> Pool[FakeServer]:
        pool = Pool("main", settings, opener=self.opener, clock=self.clock, tasks=self.tasks)
        self.pools.append(pool)
        return pool

    @property
    def now(self) -> float:
        return self.clock.monotonic()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    for pool in house.pools:
        pool.state.check()
        pool.stop()
    await house.tasks.close()
    assert house.failures == []


def queue(pool: Pool[FakeServer], now: float, *accepts: bool) -> list[FakeWaiter]:
    waiters = [FakeWaiter(accepts=accept) for accept in accepts]
    for waiter in waiters:
        pool.wait(waiter, now)
    return waiters


def places(pool: Pool[FakeServer]) -> tuple[int, int, int, int]:
    """idle, held, opening, waiting"""
    shown = pool.snapshot(1000.0)
    return shown.idle, shown.held, shown.opening, shown.waiting


async def test_a_server_given_back_goes_to_who_came_first(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    first, second = queue(pool, house.now, True, True)
    pool.give_back(server, house.now)
    assert (first.answers, second.answers, places(pool)) == ([server], [], (0, 1, 0, 1))
    pool.give_back(server, house.now)
    assert (second.answers, places(pool)) == ([server], (0, 1, 0, 0))
    pool.give_back(server, house.now)
    assert places(pool) == (1, 0, 0, 0)


async def test_a_grant_that_is_refused_goes_to_the_next(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    gone, also_gone, third = queue(pool, house.now, False, False, True)
    pool.give_back(server, house.now)
    assert [waiter.answers for waiter in (gone, also_gone, third)] == [[server]] * 3
    assert places(pool) == (0, 1, 0, 0)


async def test_a_grant_that_all_refuse_leaves_the_server_at_rest(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    queue(pool, house.now, False)
    await house.opener.arrived.get()
    assert (places(pool), house.opener.servers[0].closed) == ((1, 0, 0, 0), [])


async def test_a_waiter_that_withdrew_is_not_asked(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    gone, stays = queue(pool, house.now, True, True)
    assert pool.withdraw(gone)
    pool.give_back(server, house.now)
    assert (gone.answers, stays.answers, pool.withdraw(stays)) == ([], [server], False)


async def test_a_wait_ends_at_its_limit(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, wait_timeout=0.001))
    await held(pool, house.now)
    [waiter] = queue(pool, house.now, True)
    await house.clock.advance(2.0)
    await waiter.answered.wait()
    assert waiter.answers == [(Refusal.TIMEOUT, 2.0)]
    assert (pool.snapshot(house.now).wait_timeouts_total, places(pool)) == (1, (0, 1, 0, 0))


async def test_the_second_in_the_queue_has_a_limit_of_its_own(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, wait_timeout=0.001))
    await held(pool, house.now)
    [first] = queue(pool, house.now, True)
    await house.clock.advance(2.0)
    [second] = queue(pool, house.now, True)
    await first.answered.wait()
    assert second.answers == []
    await house.clock.advance(1.0)
    await second.answered.wait()
    assert second.answers == [(Refusal.TIMEOUT, 1.0)]


async def test_a_full_queue_refuses_at_once(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, max_waiting=1))
    await held(pool, house.now)
    _, late = queue(pool, house.now, True, True)
    assert late.answers == [(Refusal.QUEUE_FULL, 0.0)]
    assert pool.snapshot(house.now).queue_full_total == 1


async def test_waiters_keep_their_places_while_opening_fails(house: House) -> None:
    house.opener.errors = [UpstreamUnavailable("refused")]
    pool = house.pool(PoolSettings(size=1))
    first, second = queue(pool, house.now, True, True)
    await house.opener.arrived.get()
    shown = pool.snapshot(house.now)
    assert (shown.open_failures_total, shown.last_error) == (1, "refused")
    assert shown.retry_in_seconds == pytest.approx(0.1)
    assert (places(pool), first.answers, second.answers) == ((0, 0, 0, 2), [], [])
    await first.answered.wait()
    assert (first.answers, second.answers) == (house.opener.servers, [])
    shown = pool.snapshot(house.now)
    assert (shown.last_error, shown.retry_in_seconds, shown.opened_total) == ("", 0.0, 1)


async def test_several_that_fail_at_once_are_one_failure_with_one_pause_and_one_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a restart of PostgreSQL under load would be followed by the longest pause at once."""
    house.opener.errors = [UpstreamUnavailable("refused") for _ in range(6)]
    pool = house.pool(PoolSettings(size=6))
    queue(pool, house.now, *[True] * 6)
    for _ in range(6):
        await house.opener.arrived.get()
    shown = pool.snapshot(house.now)
    assert shown.open_failures_total == 6
    assert shown.retry_in_seconds == pytest.approx(0.1)
    assert [record.message for record in caplog.records] == ["no server could be opened"]


async def test_nothing_is_opened_during_a_pause(house: House) -> None:
    house.opener.errors = [UpstreamUnavailable("refused")]
    pool = house.pool(PoolSettings(size=3))
    queue(pool, house.now, True)
    await house.opener.arrived.get()
    queue(pool, house.now, True)
    assert (house.opener.calls, places(pool)) == (1, (0, 0, 0, 2))


@pytest.mark.parametrize("sqlstate", ["28P01", "28000", "3D000", "42704", "22023"])
async def test_an_error_that_waiting_will_not_heal_is_told_to_all(house: House, sqlstate: str) -> None:
    error = UpstreamRefused("no", sqlstate=sqlstate)
    house.opener.errors = [error]
    pool = house.pool(PoolSettings(size=1))
    waiters = queue(pool, house.now, True, True)
    await house.opener.arrived.get()
    assert [waiter.answers for waiter in waiters] == [[error], [error]]
    assert places(pool) == (0, 0, 0, 0)


async def test_a_bug_in_opening_is_reported_and_who_waits_is_not_forgotten(house: House) -> None:
    class Bug(Exception):
        pass

    house.opener.errors = [Bug("oh")]
    pool = house.pool(PoolSettings(size=1))
    [waiter] = queue(pool, house.now, True)
    await waiter.answered.wait()
    assert (waiter.answers, house.opener.calls) == (house.opener.servers, 2)
    assert [type(failure) for failure in house.failures] == [Bug]
    assert pool.snapshot(house.now).open_failures_total == 1
    house.failures.clear()


async def test_one_server_is_opened_before_anybody_asks_and_only_once(house: House) -> None:
    pool = house.pool(PoolSettings(size=3, idle_timeout=60.0))
    for _ in range(2):
        pool.maintain(house.now)
    await house.opener.arrived.get()
    pool.maintain(house.now)
    assert (places(pool), house.opener.calls) == ((1, 0, 0, 0), 1)
    for _ in range(2):
        pool.maintain(house.now + 60.0)
    assert (places(pool), house.opener.calls) == ((0, 0, 0, 0), 1)


async def test_after_a_failover_every_read_only_server_is_replaced(house: House) -> None:
    pool = house.pool(PoolSettings(size=3))
    writer, busy, rested = servers = [await held(pool, house.now) for _ in range(3)]
    busy.read_only = rested.read_only = True
    pool.give_back(rested, house.now)
    pool.turned_read_only(house.now)
    for server in (busy, writer):
        pool.give_back(server, house.now)
    assert [server.closed for server in servers] == [[], [CloseReason.FAILOVER], [CloseReason.FAILOVER]]
    assert pool.snapshot(house.now).closed_total[CloseReason.FAILOVER] == 2


async def test_a_pool_that_was_always_read_only_keeps_its_servers(house: House) -> None:
    house.opener.read_only = True
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    pool.turned_read_only(house.now)
    pool.give_back(server, house.now)
    assert (server.closed, places(pool)) == ([], (1, 0, 0, 0))


async def test_while_no_primary_is_found_servers_are_not_replaced_more_than_once_a_second(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    first = await held(pool, house.now)
    first.read_only = True
    pool.turned_read_only(house.now)
    pool.give_back(first, house.now)
    second = await held(pool, house.now)
    second.read_only = True
    pool.turned_read_only(house.now + FAILOVER_PAUSE / 2)
    pool.give_back(second, house.now)
    assert (first.closed, second.closed) == ([CloseReason.FAILOVER], [])
    pool.turned_read_only(house.now + FAILOVER_PAUSE)
    assert second.closed == [CloseReason.FAILOVER]


async def test_a_login_that_is_refused_is_not_tried_on_and_on_for_nobody(house: House) -> None:
    """S15: but for whoever waits at once, and for nobody after a while."""
    house.opener.errors = [UpstreamRefused("no", sqlstate="28P01")]
    pool = house.pool(PoolSettings(size=2, min_idle=1))
    pool.maintain(house.now)
    await house.opener.arrived.get()
    pool.maintain(house.now + HOPELESS_PAUSE - 1.0)
    assert (places(pool), house.opener.calls) == ((0, 0, 0, 0), 1)
    [waiter] = queue(pool, house.now, True)
    await waiter.answered.wait()
    assert waiter.answers == house.opener.servers
    pool.maintain(house.now + HOPELESS_PAUSE)
    await house.opener.arrived.get()
    await house.opener.arrived.get()
    assert places(pool) == (1, 1, 0, 0)


async def test_servers_that_stand_outlive_a_changed_password(house: House) -> None:
    """S15."""
    pool = house.pool(PoolSettings(size=2))
    server = await held(pool, house.now)
    house.opener.errors = [UpstreamRefused("no", sqlstate="28P01")]
    [waiter] = queue(pool, house.now, True)
    await waiter.answered.wait()
    pool.give_back(server, house.now)
    assert (server.closed, places(pool)) == ([], (1, 0, 0, 0))


async def test_idle_servers_are_kept_ready(house: House) -> None:
    pool = house.pool(PoolSettings(size=3, min_idle=2))
    pool.maintain(house.now)
    for _ in range(2):
        await house.opener.arrived.get()
    pool.maintain(house.now)
    assert (places(pool), house.opener.calls) == ((2, 0, 0, 0), 2)


async def test_a_server_that_rested_is_looked_at_before_it_is_given_out(house: House) -> None:
    """A5: its connection may have ended in the same turn of the loop."""
    pool = house.pool(PoolSettings(size=3))
    servers = [await held(pool, house.now) for _ in range(3)]
    for server in servers:
        pool.give_back(server, house.now)
    pool.maintain(house.now + RESTED_SECONDS)
    servers[2].silent = False
    assert pool.take() is None
    assert await held(pool, house.now) is servers[1]
    assert servers[2].closed == [CloseReason.LOST]
    (refusing,) = queue(pool, house.now, False)
    assert refusing.answers == [servers[0]]
    assert places(pool) == (1, 1, 0, 0)


async def test_a_server_that_rested_too_long_is_closed_but_not_below_min_idle(house: House) -> None:
    pool = house.pool(PoolSettings(size=2, min_idle=1, idle_timeout=60.0))
    servers = [await held(pool, house.now) for _ in range(2)]
    for server in servers:
        pool.give_back(server, house.now)
    pool.maintain(house.now + 59.0)
    assert places(pool) == (2, 0, 0, 0)
    pool.maintain(house.now + 60.0)
    assert [server.closed for server in servers] == [[CloseReason.IDLE], []]


async def test_an_idle_timeout_of_zero_is_none(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, idle_timeout=0.0, max_lifetime=0.0))
    pool.give_back(await held(pool, house.now), house.now)
    pool.maintain(house.now + 1e9)
    assert places(pool) == (1, 0, 0, 0)


async def test_lifetimes_are_drawn_by_lot_within_their_share(house: House) -> None:
    """B5."""
    pool = house.pool(PoolSettings(size=20, max_lifetime=100.0))
    ages = [(await held(pool, house.now)).dies_at - house.now for _ in range(20)]
    assert all(100.0 * (1 - LIFETIME_JITTER) <= age <= 100.0 for age in ages)
    assert len(set(ages)) > 1


async def test_an_old_server_is_closed_when_it_comes_back_and_replaced_for_who_waits(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, max_lifetime=100.0))
    old = await held(pool, house.now)
    [waiter] = queue(pool, house.now, True)
    pool.give_back(old, house.now + 100.0)
    await waiter.answered.wait()
    assert (old.closed, waiter.answers) == ([CloseReason.LIFETIME], [house.opener.servers[1]])
    assert pool.snapshot(house.now).closed_total[CloseReason.LIFETIME] == 1


async def test_old_servers_at_rest_are_closed_one_a_round(house: House) -> None:
    """B5."""
    pool = house.pool(PoolSettings(size=3, max_lifetime=100.0, idle_timeout=0.0))
    for server in [await held(pool, house.now) for _ in range(3)]:
        pool.give_back(server, house.now)
    for idle in (2, 1, 0):
        pool.maintain(house.now + 100.0)
        assert places(pool) == (idle, 0, 0, 0)
    assert [server.closed for server in house.opener.servers] == [[CloseReason.LIFETIME]] * 3


@pytest.mark.parametrize("idle", [True, False])
async def test_a_server_lost_by_itself_leaves_its_place_and_is_not_closed_again(house: House, idle: bool) -> None:
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    if idle:
        pool.give_back(server, house.now)
    for _ in range(2):
        pool.lost(server, CloseReason.LOST)
    assert (places(pool), server.closed) == ((0, 0, 0, 0), [])
    assert pool.snapshot(house.now).closed_total[CloseReason.LOST] == 1


async def test_a_discarded_server_is_replaced_for_who_waits(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    server = await held(pool, house.now)
    [waiter] = queue(pool, house.now, True)
    pool.discard(server, CloseReason.DIRTY)
    await waiter.answered.wait()
    assert (server.closed, waiter.answers) == ([CloseReason.DIRTY], [house.opener.servers[1]])


async def test_a_larger_size_serves_the_queue_at_once(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    await held(pool, house.now)
    [waiter] = queue(pool, house.now, True)
    pool.resize(PoolSettings(size=2))
    await waiter.answered.wait()
    assert places(pool) == (0, 2, 0, 0)


async def test_a_smaller_size_closes_surplus_as_it_comes_free(house: House) -> None:
    pool = house.pool(PoolSettings(size=3))
    rested, *busy = [await held(pool, house.now) for _ in range(3)]
    pool.give_back(rested, house.now)
    pool.resize(PoolSettings(size=1))
    assert (rested.closed, places(pool)) == ([CloseReason.SHRUNK], (0, 2, 0, 0))
    for server in busy:
        pool.give_back(server, house.now)
    assert [server.closed for server in busy] == [[CloseReason.SHRUNK], []]


async def test_after_renew_only_servers_of_the_new_place_are_given_out(house: House) -> None:
    pool = house.pool(PoolSettings(size=2))
    busy, rested = [await held(pool, house.now) for _ in range(2)]
    pool.give_back(rested, house.now)
    elsewhere = Opener()
    pool.renew(elsewhere, house.now)
    pool.give_back(busy, house.now)
    assert (rested.closed, len(busy.closed), places(pool)) == ([CloseReason.SHRUNK], 1, (0, 0, 0, 0))
    assert await held(pool, house.now) is elsewhere.servers[0]


async def test_a_server_that_was_opening_when_the_place_changed_is_not_given_out(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    house.opener.gate.clear()
    [waiter] = queue(pool, house.now, True)
    await house.clock.advance(0.0)
    assert house.opener.calls == 1
    elsewhere = Opener()
    pool.renew(elsewhere, house.now)
    house.opener.gate.set()
    await waiter.answered.wait()
    assert waiter.answers == elsewhere.servers
    assert house.opener.servers[0].closed


async def test_stop_tells_who_waits_and_closes_everything(house: House) -> None:
    pool = house.pool(PoolSettings(size=2))
    servers = [await held(pool, house.now) for _ in range(2)]
    early, late = *queue(pool, house.now, True), FakeWaiter()
    pool.stop()
    pool.wait(late, house.now)
    assert [type(answer) for waiter in (early, late) for answer in waiter.answers] == [ShuttingDown, ShuttingDown]
    assert [server.closed for server in servers] == [[CloseReason.STOPPED]] * 2
    assert places(pool) == (0, 0, 0, 0)


async def test_who_comes_to_a_pool_that_was_removed_is_told_so(house: House) -> None:
    pool = house.pool(PoolSettings(size=1))
    await held(pool, house.now)
    early, late = *queue(pool, house.now, True), FakeWaiter()
    removed = ShuttingDown("pool 'main' was removed")
    pool.stop(removed)
    pool.wait(late, house.now)
    assert (early.answers, late.answers) == ([removed], [removed])


async def test_a_server_that_was_opening_at_stop_is_closed_when_it_comes(house: House) -> None:
    pool = house.pool(PoolSettings(size=1, min_idle=1))
    house.opener.gate.clear()
    pool.maintain(house.now)
    await house.clock.advance(0.0)
    assert house.opener.calls == 1
    pool.stop()
    house.opener.gate.set()
    await house.opener.arrived.get()
    assert (house.opener.servers[0].closed, places(pool)) == ([CloseReason.STOPPED], (0, 0, 0, 0))
