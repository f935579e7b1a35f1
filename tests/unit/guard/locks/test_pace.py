"""When the graph is collected."""

from poolguard.guard.locks.pace import EXPENSIVE_SECONDS, PAUSE_FACTOR, Pace


def polled(pace: Pace, now: float = 10.0, *, waiters: int = 1, longest: float = 0.0) -> bool:
    return pace.should_collect(now, waiters=waiters, longest_statement=longest)


def test_one_poll_with_waiters_is_not_enough_two_are() -> None:
    pace = Pace(2.0)
    assert [polled(pace), polled(pace)] == [False, True]


def test_a_long_statement_of_ours_is_reason_at_once() -> None:
    assert polled(Pace(2.0), longest=1.1)


def test_a_long_statement_for_which_nobody_waits_is_none() -> None:
    pace = Pace(2.0)
    assert [polled(pace, waiters=0, longest=100.0), polled(pace, waiters=0, longest=100.0)] == [False, False]


def test_waits_that_ended_between_two_polls_start_the_count_again() -> None:
    pace = Pace(2.0)
    assert [polled(pace), polled(pace, waiters=0), polled(pace)] == [False, False, False]


def test_collections_are_at_least_an_interval_apart() -> None:
    pace = Pace(2.0)
    pace.collected(10.0, 0.001)
    assert not polled(pace, 11.9, longest=2.0)
    assert polled(pace, 12.0)


def test_an_expensive_collection_buys_a_longer_pause() -> None:
    pace = Pace(2.0)
    seconds = 4 * EXPENSIVE_SECONDS
    pace.collected(10.0, seconds)
    assert not polled(pace, 10.0 + PAUSE_FACTOR * seconds - 0.1, longest=2.0)
    assert polled(pace, 10.0 + PAUSE_FACTOR * seconds, longest=2.0)
