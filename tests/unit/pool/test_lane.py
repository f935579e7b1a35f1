"""The books of one lane."""

import pytest

from poolguard.pool.lane import LaneState, Place


def made(at_once: int = 1, max_waiting: int = 2) -> LaneState[str]:
    return LaneState(at_once=at_once, max_waiting=max_waiting)


def test_there_is_room_then_a_queue_then_nothing() -> None:
    lane = made()
    places = [lane.enter(who, 0.0) for who in "abcd"]
    assert places == [Place.INSIDE, Place.WAITING, Place.WAITING, Place.NONE]
    assert (lane.inside, lane.waiting, lane.oldest_since()) == ({"a"}, 2, 0.0)
    lane.check()


def test_first_come_first_served_and_one_at_a_time() -> None:
    lane = made()
    for now, who in enumerate("abc"):
        lane.enter(who, float(now))
    assert lane.admit() is None
    assert lane.leave("a") is None
    assert lane.admit() == ("b", 1.0)
    assert lane.admit() is None
    assert lane.leave("b") is None
    assert lane.admit() == ("c", 2.0)
    lane.check()


def test_nobody_overtakes_who_waits() -> None:
    """Between one's leaving and the next one's admission a newcomer may come."""
    lane = made()
    lane.enter("a", 0.0)
    lane.enter("b", 0.0)
    lane.leave("a")
    assert lane.enter("c", 1.0) is Place.WAITING
    assert lane.admit() == ("b", 0.0)


def test_who_waits_can_leave_too_and_leaving_is_safe_to_repeat() -> None:
    lane = made()
    lane.enter("a", 0.0)
    lane.enter("b", 3.0)
    assert (lane.leave("b"), lane.leave("b"), lane.leave("z")) == (3.0, None, None)
    assert (lane.inside, lane.waiting) == ({"a"}, 0)


def test_who_has_waited_too_long_is_sent_away_and_nobody_else() -> None:
    lane = made(max_waiting=3)
    for now, who in enumerate("abcd"):
        lane.enter(who, float(now))
    assert lane.expire(7.0, 5.0) == [("b", 6.0), ("c", 5.0)]
    assert (lane.waiting, lane.oldest_since()) == (1, 3.0)
    lane.check()


def test_a_smaller_lane_keeps_who_is_inside_and_admits_nobody_until_they_have_gone() -> None:
    lane = made(at_once=3)
    for who in "abcd":
        lane.enter(who, 0.0)
    lane.at_once = 1
    for who in "ab":
        lane.leave(who)
        assert lane.admit() is None
    lane.leave("c")
    assert lane.admit() == ("d", 0.0)
    lane.check()


def test_all_can_be_let_in() -> None:
    lane = made()
    for who in "abc":
        lane.enter(who, 0.0)
    assert lane.admit_all() == ["b", "c"]
    assert (lane.inside, lane.waiting) == ({"a", "b", "c"}, 0)


def test_what_can_not_be_is_noticed() -> None:
    lane = made()
    lane.enter("a", 0.0)
    with pytest.raises(AssertionError, match="inside already"):
        lane.enter("a", 0.0)
    lane.enter("b", 0.0)
    with pytest.raises(AssertionError, match="waiting already"):
        lane.enter("b", 0.0)
    lane.leave("a")
    with pytest.raises(AssertionError, match="while there is room"):
        lane.check()
