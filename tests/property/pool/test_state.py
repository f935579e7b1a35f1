"""A pool's books under any order of events."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poolguard.pool.snapshot import CloseReason
from poolguard.pool.state import MAX_OPENING, Close, Effect, Grant, Open, PoolState, Refusal, Refuse

TIMEOUT = 5.0
Effects = tuple[Effect[int, int], ...]


class Books(RuleBasedStateMachine):
    """Beside the books under test stands a plain model: who holds, who is idle, who waits, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.opening = 0
        self.held: set[int] = set()
        self.idle: list[int] = []
        self.queue: dict[int, float] = {}
        self.over = False
        """A reload shrank the pool and the surplus has not come back yet."""

    @initialize(size=st.integers(1, 4), max_waiting=st.integers(0, 5))
    def begin(self, size: int, max_waiting: int) -> None:
        self.state: PoolState[int, int] = PoolState(size=size, max_waiting=max_waiting)

    def new(self) -> int:
        self.number += 1
        return self.number

    def perform(self, effects: Effects, *, refuses: int = 0) -> None:
        """Do what the books say; the first *refuses* grants are refused by their waiters."""
        for effect in effects:
            match effect:
                case Open():
                    self.opening += 1
                case Close(server, reason):
                    assert server in self.idle or server in self.held
                    self.forget(server)
                    assert reason is not CloseReason.SHRUNK or self.over or self.state.total >= self.state.size
                case Refuse(waiter, reason, waited):
                    assert reason is Refusal.TIMEOUT
                    assert self.queue.pop(waiter) == self.now - waited
                    assert waited >= TIMEOUT
                case Grant(waiter, server, since):
                    assert waiter == next(iter(self.queue)), "first come, first served"
                    assert self.queue.pop(waiter) == since
                    assert server in self.held
                    if refuses:
                        self.back(server, refuses=refuses - 1, directly=True)

    def forget(self, server: int) -> None:
        self.held.discard(server)
        if server in self.idle:
            self.idle.remove(server)

    def back(self, server: int, *, refuses: int, directly: bool = False) -> None:
        """Give *server* back; *directly*: as the pool does it, which asks for the first waiter before anything else."""
        first = self.state.hand_over(server) if directly else None
        effects = (Grant(first[0], server, first[1]),) if first else self.state.give_back(server, self.now)
        if not effects:
            assert not self.queue, "a free server rests while somebody waits"
            self.held.remove(server)
            self.idle.append(server)
        self.perform(effects, refuses=refuses)

    @rule()
    def acquire(self) -> None:
        server = self.state.take() or self.state.take_rested()
        assert (server is None) == (not self.idle)
        if server is not None:
            assert server == self.idle.pop(), "the server used last has the warmest caches"
            self.held.add(server)
            return
        waiter = self.new()
        could_open = max(0, self.state.size - len(self.held))
        full = len(self.queue) >= self.state.max_waiting + could_open
        effects = self.state.enqueue(waiter, self.now)
        if full:
            assert effects == (Refuse(waiter, Refusal.QUEUE_FULL, 0.0),)
        else:
            self.queue[waiter] = self.now
            self.perform(effects)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), refuses=st.integers(0, 3), directly=st.booleans())
    def give_back(self, data: st.DataObject, refuses: int, directly: bool) -> None:
        self.back(data.draw(st.sampled_from(sorted(self.held))), refuses=refuses, directly=directly)

    @precondition(lambda self: self.held or self.idle)
    @rule(data=st.data())
    def lost(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(sorted([*self.held, *self.idle])))
        self.forget(server)
        self.perform(self.state.lost(server))
        self.perform(self.state.lost(server))
        assert self.state.hand_over(server) is None
        assert self.state.give_back(server, self.now) == ()

    @precondition(lambda self: self.opening)
    @rule(refuses=st.integers(0, 2))
    def opened(self, refuses: int) -> None:
        server = self.new()
        self.opening -= 1
        self.held.add(server)
        effects = self.state.opened(server, now=self.now)
        if not effects:
            assert not self.queue, "a new server rests while somebody waits"
            self.held.remove(server)
            self.idle.append(server)
        self.perform(effects, refuses=refuses)

    @precondition(lambda self: self.opening)
    @rule(again=st.booleans())
    def open_failed(self, again: bool) -> None:
        self.opening -= 1
        self.state.open_failed()
        if again:
            self.perform(self.state.want())

    @rule(min_idle=st.integers(0, 3))
    def maintain(self, min_idle: int) -> None:
        self.state.rest(self.now, 1.0)
        self.perform(self.state.want_idle(min_idle))

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        self.perform(self.state.retire(data.draw(st.sampled_from(self.idle)), CloseReason.IDLE))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(list(self.queue)))
        assert self.state.withdraw(waiter)
        assert not self.state.withdraw(waiter)
        del self.queue[waiter]

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 8.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.state.expire(self.now, TIMEOUT))
        assert all(since + TIMEOUT > self.now for since in self.queue.values())

    @rule(size=st.integers(1, 4), max_waiting=st.integers(0, 5))
    def resize(self, size: int, max_waiting: int) -> None:
        self.over = self.over or size < self.state.size
        self.state.size, self.state.max_waiting = size, max_waiting
        self.perform(self.state.retire_surplus())
        self.perform(self.state.want())
        assert not (self.idle and self.state.total > size), "idle surplus stays"

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "state"):
            return
        state = self.state
        state.check()
        self.over = self.over and state.total > state.size
        assert state.held == self.held
        assert [server for server, _ in state.rested(self.now)] == self.idle
        assert (state.opening, state.waiting) == (self.opening, len(self.queue))
        assert state.oldest_since() == next(iter(self.queue.values()), None)
        assert self.over or state.total <= state.size
        assert state.opening <= MAX_OPENING

    @invariant()
    def nobody_starves(self) -> None:
        """Whoever waits has a server on its way, or one that will come back, or is served by the next try."""
        if hasattr(self, "state") and self.queue and not self.held and not self.opening:
            effects = self.state.want()
            assert effects
            self.perform(effects)


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestBooks = Books.TestCase
