"""A lane under any order of events: never more inside than may be, first come first served, no place lost."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poolguard.pool.lane import LaneState, Place

TIMEOUT = 5.0


class Books(RuleBasedStateMachine):
    """Beside the books under test stands a plain model: who is inside, who waits, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.inside: set[int] = set()
        self.queue: dict[int, float] = {}

    @initialize(at_once=st.integers(1, 3), max_waiting=st.integers(0, 4))
    def begin(self, at_once: int, max_waiting: int) -> None:
        self.lane: LaneState[int] = LaneState(at_once=at_once, max_waiting=max_waiting)

    def settle(self) -> None:
        while (admitted := self.lane.admit()) is not None:
            who, since = admitted
            assert who == next(iter(self.queue)), "first come, first served"
            assert self.queue.pop(who) == since
            self.inside.add(who)
            assert len(self.inside) <= self.lane.at_once

    @rule()
    def enter(self) -> None:
        self.number += 1
        place = self.lane.enter(self.number, self.now)
        if len(self.inside) < self.lane.at_once and not self.queue:
            assert place is Place.INSIDE
            self.inside.add(self.number)
        elif len(self.queue) < self.lane.max_waiting:
            assert place is Place.WAITING
            self.queue[self.number] = self.now
        else:
            assert place is Place.NONE

    @precondition(lambda self: self.inside or self.queue)
    @rule(data=st.data(), again=st.booleans())
    def leave(self, data: st.DataObject, again: bool) -> None:
        who = data.draw(st.sampled_from(sorted(self.inside | set(self.queue))))
        self.inside.discard(who)
        since = self.queue.pop(who, None)
        assert self.lane.leave(who) == since
        if again:
            assert self.lane.leave(who) is None
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        expired = [(who, self.now - since) for who, since in self.queue.items() if since + TIMEOUT <= self.now]
        assert self.lane.expire(self.now, TIMEOUT) == expired
        for who, _ in expired:
            del self.queue[who]

    @rule(at_once=st.integers(1, 4), max_waiting=st.integers(0, 4))
    def reload(self, at_once: int, max_waiting: int) -> None:
        self.lane.at_once, self.lane.max_waiting = at_once, max_waiting
        self.settle()

    @rule()
    def all_go_in(self) -> None:
        assert self.lane.admit_all() == list(self.queue)
        self.inside.update(self.queue)
        self.queue.clear()

    @invariant()
    def the_books_are_the_model(self) -> None:
        if not hasattr(self, "lane"):
            return
        assert (self.lane.inside, self.lane.waiting) == (self.inside, len(self.queue))
        assert self.lane.oldest_since() == next(iter(self.queue.values()), None)
        assert not self.queue or len(self.inside) >= self.lane.at_once, "somebody waits while there is room"
        if len(self.inside) <= self.lane.at_once:
            self.lane.check()


TestBooks = Books.TestCase
