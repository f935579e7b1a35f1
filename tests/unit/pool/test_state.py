"""Rules of a pool's books."""

import pytest

from poolguard.pool.snapshot import CloseReason
from poolguard.pool.state import MAX_OPENING, Close, Grant, Open, PoolState, Refusal, Refuse


def books(*, size: int = 2, max_waiting: int = 10, idle: str = "", held: str = "") -> PoolState[str, str]:
    """Books with a server for each letter of *idle* (rested since 0, 1, ...) and of *held*."""
    state: PoolState[str, str] = PoolState(size=size, max_waiting=max_waiting)
    for since, server in enumerate(idle):
        state.opening += 1
        state.opened(server, now=float(since))
    for server in held:
        state.opening += 1
        state.opened(server, now=float(len(idle)))
        assert state.take() == server
    state.check()
    return state


def test_the_server_used_last_is_taken_first() -> None:
    state = books(idle="ab")
    assert [state.take(), state.take(), state.take()] == ["b", "a", None]


def test_whoever_waits_gets_a_server_opened_while_there_is_room() -> None:
    state = books(size=2)
    assert [state.enqueue(waiter, 0.0) for waiter in "xyz"] == [(Open(),), (Open(),), ()]
    assert (state.opening, state.waiting, state.total) == (2, 3, 2)


def test_no_more_than_so_many_open_at_once() -> None:
    """B8."""
    state = books(size=100, max_waiting=100)
    effects = [effect for number in range(50) for effect in state.enqueue(str(number), 0.0)]
    assert len(effects) == state.opening == MAX_OPENING


def test_who_waited_behind_those_that_open_is_opened_for_as_they_come() -> None:
    """B8: nobody gives back for a long time, as in mode session."""
    state = books(size=20, max_waiting=100)
    effects = [effect for number in range(12) for effect in state.enqueue(str(number), 0.0)]
    grants = 0
    while Open() in effects:
        effects.remove(Open())
        effects += state.opened(f"server {grants}", now=1.0)
        grants += 1
    assert (grants, state.waiting, state.opening, len(state.held)) == (12, 0, 0, 12)


def test_a_full_queue_refuses_at_once() -> None:
    state = books(size=1, max_waiting=1, held="a")
    state.enqueue("x", 0.0)
    assert state.enqueue("y", 1.0) == (Refuse("y", Refusal.QUEUE_FULL, 0.0),)
    assert state.waiting == 1


def test_those_for_whom_a_server_can_be_opened_do_not_count_as_a_queue() -> None:
    state = books(size=2, max_waiting=0)
    assert [state.enqueue(waiter, 0.0) for waiter in "xyz"] == [
        (Open(),),
        (Open(),),
        (Refuse("z", Refusal.QUEUE_FULL, 0.0),),
    ]


def test_a_server_is_handed_straight_to_the_first_waiter_and_stays_held() -> None:
    state = books(size=1, held="a")
    for since, waiter in enumerate("xy"):
        state.enqueue(waiter, float(since))
    assert [state.hand_over("a"), state.hand_over("a"), state.hand_over("a")] == [("x", 0.0), ("y", 1.0), None]
    assert (state.held, state.waiting, state.idle) == ({"a"}, 0, 0)


def test_a_server_that_nobody_holds_can_not_be_given_back() -> None:
    """Else two would get it."""
    state = books(size=1, idle="a")
    state.give_back("a", 1.0)
    state.rest(9.0, seconds=1.0)
    state.give_back("a", 9.0)
    state.check()
    assert (state.take(), state.take_rested(), state.take_rested()) == (None, "a", None)


def test_a_server_that_is_lost_or_too_many_is_handed_to_nobody() -> None:
    state = books(size=2, held="ab")
    state.enqueue("x", 0.0)
    state.size = 1
    assert state.hand_over("a") is None
    assert state.give_back("a", 1.0) == (Close("a", CloseReason.SHRUNK),)
    state.lost("b")
    assert state.hand_over("b") is None
    assert state.waiting == 1


@pytest.mark.parametrize("way", ["given back", "opened"])
def test_a_free_server_goes_to_the_first_waiter(way: str) -> None:
    state = books(size=1, held="a" if way == "given back" else "")
    for since, waiter in enumerate("xy"):
        state.enqueue(waiter, float(since))
    effects = state.give_back("a", 5.0) if way == "given back" else state.opened("a", now=5.0)
    assert [
        (type(effect), effect.waiter, effect.server, effect.since) for effect in effects if isinstance(effect, Grant)
    ] == [(Grant, "x", "a", 0.0)]
    assert (state.held, state.waiting, state.idle) == ({"a"}, 1, 0)


def test_a_server_that_is_lost_is_replaced_if_somebody_waits() -> None:
    state = books(size=1, held="a")
    state.enqueue("x", 0.0)
    assert state.lost("a") == (Open(),)
    assert (state.held, state.opening) == (set(), 1)


@pytest.mark.parametrize("server", ["i", "h", "never seen"])
def test_losing_a_server_twice_does_no_harm(server: str) -> None:
    state = books(size=2, idle="i", held="h")
    state.lost(server)
    before = (state.idle, set(state.held), state.total)
    assert state.lost(server) == ()
    assert (state.idle, state.held, state.total) == before


def test_a_server_lost_meanwhile_is_not_taken_back() -> None:
    state = books(held="a")
    state.lost("a")
    assert state.give_back("a", 1.0) == ()
    assert state.total == 0


def test_an_open_that_failed_gives_its_place_free_and_asks_for_nothing() -> None:
    state = books(size=1)
    state.enqueue("x", 0.0)
    state.open_failed()
    assert (state.opening, state.waiting) == (0, 1)
    assert state.want() == (Open(),)


@pytest.mark.parametrize("answer", ["opened", "open_failed"])
def test_an_answer_without_a_question_is_our_bug(answer: str) -> None:
    state = books()
    with pytest.raises(AssertionError, match="without Open"):
        state.opened("a", now=0.0) if answer == "opened" else state.open_failed()


@pytest.mark.parametrize(("waiter", "found"), [("x", True), ("z", False)])
def test_a_waiter_can_give_up_its_place_once(waiter: str, found: bool) -> None:
    state = books(size=1, held="a")
    state.enqueue("x", 0.0)
    assert [state.withdraw(waiter), state.withdraw(waiter)] == [found, False]


def test_the_queue_is_emptied_first_come_first() -> None:
    state = books(size=1, held="a")
    for waiter in "yxz":
        state.enqueue(waiter, 0.0)
    assert (state.withdraw_all(), state.waiting) == (["y", "x", "z"], 0)


@pytest.mark.parametrize(("now", "gone"), [(4.9, ""), (5.0, "x"), (6.5, "xy"), (60.0, "xyz")])
def test_whoever_waited_for_the_limit_is_sent_away(now: float, gone: str) -> None:
    state = books(size=1, held="a")
    for since, waiter in enumerate("xyz"):
        state.enqueue(waiter, float(since))
    assert state.expire(now, 5.0) == tuple(
        Refuse(waiter, Refusal.TIMEOUT, now - since) for since, waiter in enumerate(gone)
    )
    assert state.oldest_since() == (float(len(gone)) if len(gone) < 3 else None)


@pytest.mark.parametrize(("size", "idle", "min_idle", "opens"), [(5, "a", 3, 2), (2, "a", 3, 1), (5, "ab", 2, 0)])
def test_servers_are_opened_ahead_of_need(size: int, idle: str, min_idle: int, opens: int) -> None:
    state = books(size=size, idle=idle)
    assert state.want_idle(min_idle) == (Open(),) * opens
    assert state.want_idle(min_idle) == (), "those on their way count"


def test_rest_is_counted_from_the_last_return() -> None:
    state = books(idle="ab")
    assert state.take() == "b"
    state.give_back("b", 7.0)
    assert state.rested(10.0) == [("a", 10.0), ("b", 3.0)]


def test_only_an_idle_server_is_retired() -> None:
    state = books(idle="i", held="h")
    assert state.retire("h", CloseReason.IDLE) == ()
    assert state.retire("i", CloseReason.IDLE) == (Close("i", CloseReason.IDLE),)
    assert (state.idle, state.held) == (0, {"h"})


def test_after_a_shrink_idle_surplus_goes_at_once_and_held_surplus_when_it_comes_back() -> None:
    state = books(size=4, idle="ab", held="cd")
    state.size = 1
    assert state.retire_surplus() == (Close("a", CloseReason.SHRUNK), Close("b", CloseReason.SHRUNK))
    assert state.give_back("c", 1.0) == (Close("c", CloseReason.SHRUNK),)
    assert state.give_back("d", 1.0) == ()
    assert (state.idle, state.total) == (1, 1)


def test_after_a_growth_the_queue_is_asked_again() -> None:
    state = books(size=1, held="a")
    for waiter in "xy":
        state.enqueue(waiter, 0.0)
    state.size = 2
    assert state.want() == (Open(),)


def test_who_has_rested_is_taken_only_by_who_looks() -> None:
    """A5."""
    state = books(size=3, idle="abc")
    state.rest(3.0, 2.0)
    assert (state.idle, state.rested(3.0)) == (3, [("a", 3.0), ("b", 2.0), ("c", 1.0)])
    assert [state.take(), state.take()] == ["c", None]
    assert [state.take_rested(), state.take_rested(), state.take_rested()] == ["b", "a", None]
    state.check()


def test_who_has_rested_is_closed_first_when_the_pool_shrinks() -> None:
    state = books(size=3, idle="abc")
    state.rest(3.0, 2.0)
    state.size = 1
    assert state.retire_surplus() == (Close("a", CloseReason.SHRUNK), Close("b", CloseReason.SHRUNK))
    assert state.take() == "c"


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda state: state._open.remove("i"), "idle that has been closed"),
        (lambda state: setattr(state, "opening", -1), "fewer than no servers"),
    ],
)
def test_check_finds_broken_books(break_it: object, why: str) -> None:
    state = books(idle="i")
    assert callable(break_it)
    break_it(state)
    with pytest.raises(AssertionError, match=why):
        state.check()
