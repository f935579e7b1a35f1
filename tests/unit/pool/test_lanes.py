"""The lanes of a pool: whose turn it is, which statement belongs where, and what a reload does."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from poolguard.pool.lanes import TOLD_AGAIN_SECONDS, Lane, Lanes, Ticket
from poolguard.pool.state import Refusal
from poolguard.settings.lanes import Lane as LaneSettings
from poolguard.settings.lanes import LaneMatch
from poolguard.settings.policies import PolicyMode
from poolguard.wire.fingerprint import fingerprint
from tests.support.clock import ManualClock


class Guest:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ticket: Ticket | None = None
        self.leaves_at_once = False

    def admitted(self) -> None:
        self.told.append("admitted")
        if self.leaves_at_once and self.ticket is not None:
            self.ticket.leave()

    def kept_out(self, lane: Lane, reason: Refusal, waited: float) -> None:
        self.told.append(f"{reason.value} after {waited:g}")


def settings(name: str = "pop", statement: str | None = "from jobs", **more: Any) -> LaneSettings:
    ids = more.pop("fingerprint", ())
    return LaneSettings(name=name, match=LaneMatch(statement=statement, fingerprint=ids), **{"at_once": 1, **more})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def lanes(clock: ManualClock) -> Any:
    made = Lanes("app", (settings(),), clock)
    yield made
    made.stop()


def only(lanes: Lanes) -> Lane:
    lane = lanes.of(b"DELETE FROM jobs")
    assert lane is not None
    return lane


def enter(lane: Lane, clock: ManualClock, number: int = 1) -> Iterator[Guest]:
    for _ in range(number):
        guest = Guest()
        guest.ticket = lane.enter(guest, clock.monotonic())
        yield guest


async def test_a_statement_belongs_to_the_first_lane_that_matches(clock: ManualClock) -> None:
    hot = fingerprint(b"UPDATE hot SET n = 1 WHERE id = 2").id
    lanes = Lanes("app", (settings(), settings("hot", None, fingerprint=(hot,)), settings("rest", "^update")), clock)
    assert bool(lanes)
    named = {
        text: lane.name if (lane := lanes.of(text)) else None
        for text in (
            b"SELECT 1 FROM Jobs -- x",
            b"update hot set n = $1 where id=$2",
            b"UPDATE other SET n = 1",
            b"SELECT 'from jobs'",
            b"",
        )
    }
    assert list(named.values()) == ["pop", "hot", "rest", None, None]


async def test_both_keys_of_a_match_must_hold(clock: ManualClock) -> None:
    one = fingerprint(b"UPDATE hot SET n = 1").id
    lanes = Lanes("app", (settings("hot", "where", fingerprint=(one,)),), clock)
    assert lanes.of(b"UPDATE hot SET n = 1") is None


async def test_no_lane_is_false_and_matches_nothing(clock: ManualClock) -> None:
    lanes = Lanes("app", (), clock)
    assert not lanes
    assert (lanes.of(b"SELECT 1"), lanes.snapshots(0.0)) == (None, ())


async def test_who_leaves_lets_the_next_in(lanes: Lanes, clock: ManualClock) -> None:
    lane = only(lanes)
    first, second, third = enter(lane, clock, 3)
    assert [guest.ticket and guest.ticket.waits for guest in (first, second, third)] == [False, True, True]
    await clock.advance(2.0)
    assert first.ticket
    assert second.ticket
    first.ticket.leave()
    first.ticket.leave()
    assert (second.told, third.told) == (["admitted"], [])
    second.ticket.leave()
    assert third.told == ["admitted"]
    shown = lane.snapshot(clock.monotonic())
    assert (shown.in_flight, shown.waiting, shown.entered_total) == (1, 0, 3)
    assert (shown.wait_seconds.cumulative()[-1][1], shown.wait_seconds.total) == (2, 4.0)


async def test_those_who_leave_as_soon_as_they_are_let_in_do_not_grow_the_stack(clock: ManualClock) -> None:
    lanes = Lanes("app", (settings(max_waiting=1000),), clock)
    first, *others = enter(only(lanes), clock, 1001)
    for other in others:
        other.leaves_at_once = True
    assert first.ticket
    first.ticket.leave()
    assert {tuple(other.told) for other in others} == {("admitted",)}
    lanes.stop()


async def test_who_has_waited_too_long_is_told_and_the_next_wait_is_measured_anew(
    lanes: Lanes, clock: ManualClock
) -> None:
    lane = only(lanes)
    _, early = enter(lane, clock, 2)
    await clock.advance(6.0)
    (late,) = enter(lane, clock)
    await clock.advance(4.0)
    lane.expire()
    assert (early.told, late.told) == (["timeout after 10"], [])
    assert lane.rejections == {Refusal.TIMEOUT: 1}
    shown = lane.snapshot(clock.monotonic())
    assert (shown.waiting, shown.oldest_wait_seconds) == (1, 4.0)


async def test_a_full_queue_refuses_at_once(clock: ManualClock) -> None:
    lanes = Lanes("app", (settings(max_waiting=0),), clock)
    _, refused = enter(only(lanes), clock, 2)
    assert (refused.ticket, refused.told) == (None, [])
    assert only(lanes).rejections == {Refusal.QUEUE_FULL: 1}


async def test_refusals_are_logged_now_and_then_with_their_number(
    lanes: Lanes, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    lanes.apply((settings(max_waiting=0),))
    caplog.set_level(logging.WARNING)
    lane = only(lanes)
    list(enter(lane, clock, 4))
    await clock.advance(TOLD_AGAIN_SECONDS)
    list(enter(lane, clock, 1))
    assert [(record.msg, record.__dict__["rejections"]) for record in caplog.records] == [
        ("a lane turned transactions away", 1),
        ("a lane turned transactions away", 3),
    ]


async def test_observe_keeps_the_same_books_and_tells_nobody(clock: ManualClock) -> None:
    lanes = Lanes("app", (settings(mode=PolicyMode.OBSERVE, max_waiting=1),), clock)
    lane = only(lanes)
    guests = list(enter(lane, clock, 3))
    assert [guest.ticket and guest.ticket.waits for guest in guests] == [False] * 3
    await clock.advance(20.0)
    lane.expire()
    assert [guest.told for guest in guests] == [[]] * 3
    shown = lane.snapshot(clock.monotonic())
    assert (shown.mode, shown.in_flight, shown.waiting) == ("observe", 1, 0)
    assert shown.rejections_total == {"queue_full": 1, "timeout": 1}
    for guest in guests:
        assert guest.ticket
        guest.ticket.leave()
    assert (lane.state.inside, lane.state.waiting) == (set(), 0)
    lanes.stop()


async def test_a_reload_keeps_who_is_inside_and_who_waits(lanes: Lanes, clock: ManualClock) -> None:
    lane = only(lanes)
    _, second, third = enter(lane, clock, 3)
    lanes.apply((settings("new", "x"), settings(at_once=2, statement="jobs")))
    assert lanes.of(b"DELETE FROM my.jobs") is lane
    assert (second.told, third.told) == (["admitted"], [])
    lane.state.check()


@pytest.mark.parametrize("after", [(), (settings("other"),), (settings(mode=PolicyMode.OBSERVE),)])
async def test_a_lane_that_is_gone_or_only_looks_lets_all_in(
    lanes: Lanes, clock: ManualClock, after: tuple[LaneSettings, ...]
) -> None:
    first, second, third = enter(only(lanes), clock, 3)
    lanes.apply(after)
    assert [guest.told for guest in (first, second, third)] == [[], ["admitted"], ["admitted"]]
    for guest in (first, second, third):
        assert guest.ticket
        guest.ticket.leave()
    assert [(shot.in_flight, shot.waiting) for shot in lanes.snapshots(0.0)] == [(0, 0)] * len(after)


async def test_from_observe_to_enforce_those_inside_count(clock: ManualClock) -> None:
    lanes = Lanes("app", (settings(mode=PolicyMode.OBSERVE),), clock)
    guests = list(enter(only(lanes), clock, 3))
    lanes.apply((settings(),))
    (newcomer,) = enter(only(lanes), clock)
    assert newcomer.ticket
    assert newcomer.ticket.waits
    for guest in guests:
        assert guest.ticket
        guest.ticket.leave()
    assert ([guest.told for guest in guests], newcomer.told) == ([[]] * 3, ["admitted"])
    lanes.stop()
