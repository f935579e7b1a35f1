"""The service behind the lease API: asks the store, keeps the book, counts and logs what came of it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import (
    LeaseBusy,
    LeaseLost,
    LeaseNotFound,
    LeaseUnavailable,
    LeaseUnknown,
    PoolguardError,
    ShuttingDown,
)
from poolguard.lease import terms, wording
from poolguard.lease.access import Access
from poolguard.lease.beliefs import Beliefs
from poolguard.lease.book import MAX_NAMES, Abandoned, Belief, Forced, GivenUp, Refused, TimePassed
from poolguard.lease.counters import RenewFailure
from poolguard.lease.ear import NoEar
from poolguard.lease.store import (
    ATTEMPT_SECONDS,
    MIN_ATTEMPT_SECONDS,
    Granted,
    HeldBy,
    Over,
    Released,
    Renewed,
    Spent,
    Store,
)
from poolguard.lease.terms import AT_ONCE, Row, StepDown, TermKey, Wanted
from poolguard.lease.watcher import MakeListener, Watcher
from poolguard.settings.model import Leases

log = logging.getLogger(__name__)

_START_SECONDS: Final = 5.0
_SWEEP_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """A lease, and for how long it may be relied on."""

    row: Row
    valid_for_seconds: float
    """To its holder: until this process trusts it no longer. To all others: until PostgreSQL lets it end."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """A term that is the caller's."""

    standing: Standing
    new: bool
    """False: the same requestId had got it before."""


@dataclass(frozen=True, slots=True)
class ByForce:
    """A term that an operator ended, or tried to."""

    was: Row
    """The lease before."""
    actor: str
    reason: str
    done: bool
    """False: PostgreSQL refused, or its answer never came."""


class LeaseManager:
    """A Service (`aio.service`). Without PostgreSQL it runs all the same, and answers LeaseUnavailable."""

    name: Final = "leases"

    def __init__(
        self,
        store: Store,
        settings: Leases,
        clock: Clock,
        make_ear: MakeListener = NoEar,
    ) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._beliefs: Final = Beliefs(clock)
        self._access: Final = Access(store, clock, connections=settings.connections)
        self._wishes: Final[OrderedDict[tuple[str, str], int]] = OrderedDict()
        """Which token each wish got: none is granted twice."""
        self._tasks: Final = TaskOwner(self._crashed)
        self.on_ended: Final = self._beliefs.on_ended
        """Called at once when a term is believed no longer, whatever the reason."""
        self.on_forced: Final[list[Callable[[ByForce], None]]] = []
        """Called with every release by force, for the record."""
        self.watcher: Final = Watcher(self._look_at, lambda name: self.leader(name) is not None, clock, make_ear)
        self._draining = False
        self.default_ttl_seconds = settings.default_ttl
        """For acquires that don't say; a reload may change it."""
        self.counters: Final = self._beliefs.counters
        self.counters.store_up = lambda: self.ready
        self.counters.timeline = lambda: store.timeline

    @property
    def ready(self) -> bool:
        """Whether the table has been found usable, and PostgreSQL has answered of late."""
        return self._access.ready

    @property
    def last_error(self) -> str:
        """Why the store can't be used; empty while it can. Holds no secret."""
        return self._access.last_error

    # Service

    async def start(self) -> None:
        """Connect first of all; return when the table is usable, or after a few seconds all the same."""
        await self._store.open()
        self._tasks.spawn(self._access.prepare(), name="lease-prepare")
        self._tasks.spawn(self._sweep(), name="lease-sweep")
        self._tasks.spawn(self.watcher.run(), name="lease-watcher")
        self._tasks.spawn(self._listen(), name="lease-listen")
        self._tasks.spawn(self._access.ask_again(), name="lease-ask-again")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._access.wait_until_usable()
        except TimeoutError:
            log.warning(
                "leases not ready, starting without them",
                extra={"reason": self.last_error or "PostgreSQL has not answered yet"},
            )
        except BaseException:
            await self.stop()
            raise

    async def drain(self, deadline: float) -> None:
        """Begin no new terms. Those that run can be renewed and released until stop()."""
        del deadline  # what is under way is bounded by itself, and stop() waits for none of it
        self._draining = True

    async def stop(self) -> None:
        """Close the connections. Terms are left to their holders: they run out, or are renewed elsewhere."""
        self._access.stop()
        await self._tasks.close()
        await self._store.close()

    # Requests

    async def acquire(self, wish: Wanted, *, chosen_by_caller: bool = True) -> Acquired:
        """Begin a term, or find the one that *wish* got before. *chosen_by_caller*: whether it gave the request's id.

        Raises LeaseHeld, LeaseLost (the wish was granted, and that term is over), LeaseUnavailable, LeaseUnknown.
        """
        if self._draining:
            raise ShuttingDown("poolguard stops: it begins no new terms")
        if self._beliefs.book.full:
            raise LeaseBusy(f"{MAX_NAMES} leases are held through this poolguard: it takes no more")
        async with self._access.turn(wish.name, urgent=False) as deadline:
            earlier = self._wishes.get((wish.name, wish.request_id))
            found = await self._store.acquire(
                wish, floor=self._beliefs.book.floor, earlier_token=earlier, deadline=deadline
            )
            match found:
                case Granted(row, sent_at, replayed):
                    return self._granted(wish, row, sent_at, new=not (replayed and chosen_by_caller))
                case HeldBy(row):
                    self._shown(row)
                    self.counters.conflicts += 1
                    raise wording.held(row)
                case Spent(row):
                    if row is not None:
                        self._shown(row)
                    raise wording.lost(row, "the term that this requestId got is over", hint="Use a new requestId.")
                case _:
                    assert_never(found)

    def _granted(self, wish: Wanted, row: Row, sent_at: float, *, new: bool) -> Acquired:
        if self._beliefs.book.is_over(row.name, row.token):
            raise wording.lost(row, "the term that this requestId got was given back", hint="Use a new requestId.")
        self._wishes[wish.name, wish.request_id] = row.token
        if len(self._wishes) > MAX_NAMES:
            self._wishes.popitem(last=False)
        self._confirm(row, sent_at)
        if new:
            self.counters.acquired += 1
        return Acquired(self._trusted(row), new)

    async def renew(self, term: TermKey, metadata: Mapping[str, object] | None = None) -> Standing:
        """Let exactly *term* run for its whole time to live again; *metadata*, if given, replaces what was kept.

        Raises LeaseLost: stop at once. LeaseUnavailable, LeaseUnknown: try again while the last validity lasts.
        """
        began = self._clock.monotonic()
        try:
            renewed = await self._renew(term, metadata)
        except PoolguardError as error:
            failure = _failure_of(error)
            self.counters.renew_failures[failure] += 1
            if failure is not RenewFailure.LOST:
                self.counters.no_verdict(term.name)
            raise
        finally:
            self.counters.renew_seconds.observe(self._clock.monotonic() - began)
        self.counters.renewed += 1
        return renewed

    async def _renew(self, term: TermKey, metadata: Mapping[str, object] | None) -> Standing:
        if self._beliefs.book.is_over(term.name, term.token):
            raise wording.lost(None, "this term is over")
        async with self._access.turn(term.name, urgent=True) as deadline:
            answer = await self._store.renew(
                term, metadata=metadata, attempt_seconds=self._attempt_seconds(term.name), deadline=deadline
            )
            match answer:
                case Renewed(row, sent_at):
                    self._confirm(row, sent_at)
                    if self._beliefs.book.is_over(term.name, term.token):
                        raise wording.lost(row, "this term was given back meanwhile")
                    return self._trusted(row)
                case Over(row):
                    self._beliefs.note(Refused(term))
                    if row is not None:
                        self._shown(row)
                    raise wording.lost(row, wording.why_over(row, term))
                case _:
                    assert_never(answer)

    def _attempt_seconds(self, name: str) -> float:
        """Half of what trust is left: two attempts, on two connections, before it has run out."""
        belief = self.leader(name)
        left = self.trust_seconds(belief) / 2 if belief is not None else ATTEMPT_SECONDS
        return min(ATTEMPT_SECONDS, max(MIN_ATTEMPT_SECONDS, left))

    async def release(self, term: TermKey, how: StepDown = AT_ONCE) -> None:
        """Give *term* back. Trust in it ends at once, whatever PostgreSQL then answers.

        Raises LeaseLost if another term is the latest, LeaseNotFound, LeaseUnavailable, LeaseUnknown.
        """
        self._beliefs.note(GivenUp(term))
        async with self._access.turn(term.name, urgent=True) as deadline:
            # Once more: a renewal that was ahead in the queue may have been answered meanwhile.
            self._beliefs.note(GivenUp(term))
            answer = await self._store.release(term, how, deadline=deadline)
        match answer:
            case Released(row):
                self.watcher.saw(row)
                self.counters.released += 1
                log.info("lease released", extra={"lease": row.name, "holder": term.holder, "token": row.token})
            case Over(row):
                if row is None:
                    raise wording.not_found(term.name)
                self._shown(row)
                raise wording.lost(row, "another term is the latest: there is nothing of yours to release")
            case _:
                assert_never(answer)

    async def force_release(self, name: str, *, actor: str, reason: str = "") -> Row:
        """End whatever term of *name* runs; returns the lease as it was. *actor* and *reason* are for the record.

        Its holder learns of it at its next renewal: until then two may act, and only the token tells them apart.
        Raises LeaseNotFound if nobody holds it, LeaseUnavailable, LeaseUnknown.
        """
        terms.check_name(name)
        async with self._access.turn(name, urgent=True) as deadline:
            row = await self._store.read(name, deadline=deadline)
            if row is None or row.holder is None:
                raise LeaseNotFound(f"nobody holds lease {name!r}")
            done = False
            try:
                answer = await self._store.release(TermKey(name, row.holder, row.token), AT_ONCE, deadline=deadline)
                if isinstance(answer, Over):
                    raise LeaseUnavailable("the lease changed hands in this very moment: nothing was changed")
                done = True
            finally:
                for told in self.on_forced:
                    told(ByForce(row, actor, reason, done))
            self.watcher.saw(answer.row)
            self._beliefs.note(Forced(name, row.token))
        return row

    async def get(self, name: str) -> Standing:
        """Return the lease as PostgreSQL has it. Raises LeaseNotFound, LeaseUnavailable."""
        terms.check_name(name)
        async with self._access.turn(None, urgent=False) as deadline:
            row = await self._store.read(name, deadline=deadline)
        if row is None:
            raise wording.not_found(name)
        self._shown(row)
        return Standing(row, max(0.0, row.valid_for_seconds))

    async def list(self, *, after: str = "", prefix: str = "", limit: int = 100) -> Sequence[Standing]:
        """Return up to *limit* leases past *after*, by name. Raises LeaseUnavailable."""
        async with self._access.turn(None, urgent=False) as deadline:
            rows = await self._store.read_all(after=after, prefix=prefix, limit=limit, deadline=deadline)
        return [Standing(row, max(0.0, row.valid_for_seconds)) for row in rows]

    async def ask_to_step_down(self, name: str, how: StepDown) -> Row:
        """Leave word for the holder of *name*, which its poolguard finds at once or at its next renewal.

        Raises LeaseNotFound if nobody holds it, LeaseUnavailable, LeaseUnknown.
        """
        async with self._access.turn(name, urgent=True) as deadline:
            row = await self._store.ask_to_step_down(name, how, deadline=deadline)
        if row is None:
            raise LeaseNotFound(f"nobody holds lease {name!r}")
        log.info("lease holder asked to step down", extra={"lease": name, "holder": row.holder, "token": row.token})
        self._shown(row)
        return row

    def abandon(self, term: TermKey) -> None:
        """Stop relying on *term*, whose holder seems to be dead. It is not released: that holder may yet wake up."""
        self._beliefs.note(Abandoned(term))

    def leader(self, name: str) -> Belief | None:
        """Return the term of *name* if it is held through this process and trusted now. From memory."""
        return self._beliefs.leader(name)

    def trust_seconds(self, belief: Belief) -> float:
        """How long *belief* may still be relied on; never below 0."""
        return self._beliefs.trust_seconds(belief)

    # Inside

    async def _look_at(self, names: Sequence[str]) -> Sequence[Row]:
        async with self._access.turn(None, urgent=False) as deadline:
            rows = await self._store.read_some(names, deadline=deadline)
        for row in rows:
            self._shown(row)
        return rows

    def _trusted(self, row: Row) -> Standing:
        return Standing(row, self._beliefs.trust_in(row))

    def _confirm(self, row: Row, sent_at: float) -> None:
        self._beliefs.confirm(row, sent_at)
        self.watcher.saw(row)
        self.watcher.wanted.set()

    def _shown(self, row: Row) -> None:
        self._beliefs.shown(row)
        self.watcher.saw(row)

    async def _listen(self) -> None:
        await self.watcher.wanted.wait()
        await self.watcher.listener.run()

    async def _sweep(self) -> None:
        due = self._clock.monotonic()
        while True:
            self._beliefs.note(TimePassed())
            due = max(due + _SWEEP_SECONDS, self._clock.monotonic())
            await self._clock.sleep_until(due)

    def _crashed(self, task: str, error: BaseException) -> None:
        self._access.last_error = f"{task} failed: {type(error).__name__}"
        log.error("lease task failed", extra={"task": task}, exc_info=error)


def _failure_of(error: PoolguardError) -> RenewFailure:
    match error:
        case LeaseLost():
            return RenewFailure.LOST
        case LeaseUnknown():
            return RenewFailure.UNKNOWN
        case LeaseBusy():
            return RenewFailure.BUSY
        case _:
            return RenewFailure.UNAVAILABLE
