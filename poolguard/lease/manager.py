"""The service behind the lease API: asks the store, keeps the book, counts and logs what came of it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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
from poolguard.lease.book import (
    MAX_NAMES,
    Began,
    Belief,
    Book,
    Confirmed,
    Ended,
    Extended,
    Fact,
    Forced,
    GivenUp,
    Refused,
    Seen,
    TimePassed,
)
from poolguard.lease.counters import LeaseCounters, RenewFailure
from poolguard.lease.gate import Gate
from poolguard.lease.store import Granted, HeldBy, Over, Released, Renewed, Spent, Store
from poolguard.lease.terms import Row, TermKey, Wanted
from poolguard.settings.model import Leases

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 4.0
"""What one request may take, its wait for a turn and further attempts included."""
_START_SECONDS: Final = 5.0
_SWEEP_SECONDS: Final = 0.5
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Between attempts to make the table usable; the last one repeats."""


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


class LeaseManager:
    """A Service (`aio.service`). Without PostgreSQL it runs all the same, and answers LeaseUnavailable."""

    name: Final = "leases"

    def __init__(self, store: Store, settings: Leases, clock: Clock) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._book: Final = Book()
        self._gate: Final = Gate(settings.connections)
        self._wishes: Final[OrderedDict[tuple[str, str], int]] = OrderedDict()
        """Which token each wish got: none is granted twice."""
        self._tasks: Final = TaskOwner(self._crashed)
        self._ready: Final = asyncio.Event()
        self._draining = False
        self._stopped = False
        self.default_ttl_seconds = settings.default_ttl
        """For acquires that don't say; a reload may change it."""
        self.counters: Final = LeaseCounters(lambda: self._book.views(now=clock.boottime()))
        self.last_error = ""
        """Why the store can't be used; empty while it can. Holds no secret."""

    @property
    def ready(self) -> bool:
        """Whether the table has been found usable."""
        return self._ready.is_set()

    # Service

    async def start(self) -> None:
        """Connect first of all; return when the table is usable, or after a few seconds all the same."""
        await self._store.open()
        self._tasks.spawn(self._prepare(), name="lease-prepare")
        self._tasks.spawn(self._sweep(), name="lease-sweep")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            log.warning("leases not ready, starting without them", extra={"reason": self.last_error})
        except BaseException:
            await self.stop()
            raise

    async def drain(self, deadline: float) -> None:
        """Begin no new terms. Those that run can be renewed and released until stop()."""
        del deadline  # what is under way is bounded by REQUEST_SECONDS, and stop() waits for none of it
        self._draining = True

    async def stop(self) -> None:
        """Close the connections. Terms are left to their holders: they run out, or are renewed elsewhere."""
        self._stopped = True
        await self._tasks.close()
        await self._store.close()

    # Requests

    async def acquire(self, wish: Wanted, *, chosen_by_caller: bool = True) -> Acquired:
        """Begin a term, or find the one that *wish* got before. *chosen_by_caller*: whether it gave the request's id.

        Raises LeaseHeld, LeaseLost (the wish was granted, and that term is over), LeaseUnavailable, LeaseUnknown.
        """
        if self._draining:
            raise ShuttingDown("poolguard stops: it begins no new terms")
        if self._book.full:
            raise LeaseBusy(f"{MAX_NAMES} leases are held through this poolguard: it takes no more")
        async with self._turn(wish.name, urgent=False) as deadline:
            earlier = self._wishes.get((wish.name, wish.request_id))
            found = await self._store.acquire(wish, floor=self._book.floor, earlier_token=earlier, deadline=deadline)
            match found:
                case Granted(row, sent_at, replayed):
                    return self._granted(wish, row, sent_at, new=not (replayed and chosen_by_caller))
                case HeldBy(row):
                    self._note(Seen(row.name, row.token))
                    self.counters.conflicts += 1
                    raise wording.held(row)
                case Spent(row):
                    if row is not None:
                        self._note(Seen(row.name, row.token))
                    raise wording.lost(row, "the term that this requestId got is over", hint="Use a new requestId.")
                case _:
                    assert_never(found)

    def _granted(self, wish: Wanted, row: Row, sent_at: float, *, new: bool) -> Acquired:
        if self._book.is_over(row.name, row.token):
            raise wording.lost(row, "the term that this requestId got was given back", hint="Use a new requestId.")
        self._wishes[wish.name, wish.request_id] = row.token
        if len(self._wishes) > MAX_NAMES:
            self._wishes.popitem(last=False)
        self._note(_confirmed(row, sent_at))
        if new:
            self.counters.acquired += 1
        return Acquired(self._trusted(row), new)

    async def renew(self, term: TermKey) -> Standing:
        """Let exactly *term* run for its whole time to live again.

        Raises LeaseLost: stop at once. LeaseUnavailable, LeaseUnknown: try again while the last validity lasts.
        """
        began = self._clock.monotonic()
        try:
            renewed = await self._renew(term)
        except PoolguardError as error:
            self.counters.renew_failures[_failure_of(error)] += 1
            raise
        finally:
            self.counters.renew_seconds.observe(self._clock.monotonic() - began)
        self.counters.renewed += 1
        return renewed

    async def _renew(self, term: TermKey) -> Standing:
        if self._book.is_over(term.name, term.token):
            raise wording.lost(None, "this term is over")
        async with self._turn(term.name, urgent=True) as deadline:
            answer = await self._store.renew(term, deadline=deadline)
            match answer:
                case Renewed(row, sent_at):
                    self._note(_confirmed(row, sent_at))
                    if self._book.is_over(term.name, term.token):
                        raise wording.lost(row, "this term was given back meanwhile")
                    return self._trusted(row)
                case Over(row):
                    self._note(Refused(term))
                    if row is not None:
                        self._note(Seen(row.name, row.token))
                    raise wording.lost(row, wording.why_over(row, term))
                case _:
                    assert_never(answer)

    async def release(self, term: TermKey) -> None:
        """Give *term* back. Trust in it ends at once, whatever PostgreSQL then answers.

        Raises LeaseLost if another term is the latest, LeaseNotFound, LeaseUnavailable, LeaseUnknown.
        """
        self._note(GivenUp(term))
        async with self._turn(term.name, urgent=True) as deadline:
            # Once more: a renewal that was ahead in the queue may have been answered meanwhile.
            self._note(GivenUp(term))
            answer = await self._store.release(term, deadline=deadline)
        match answer:
            case Released(row):
                self.counters.released += 1
                log.info("lease released", extra={"lease": row.name, "holder": term.holder, "token": row.token})
            case Over(row):
                if row is None:
                    raise wording.not_found(term.name)
                self._note(Seen(row.name, row.token))
                raise wording.lost(row, "another term is the latest: there is nothing of yours to release")
            case _:
                assert_never(answer)

    async def force_release(self, name: str, *, actor: str) -> Row:
        """End whatever term of *name* runs; returns the lease as it was. *actor* goes into the log.

        Its holder learns of it at its next renewal: until then two may act, and only the token tells them apart.
        Raises LeaseNotFound if nobody holds it, LeaseUnavailable, LeaseUnknown.
        """
        terms.check_name(name)
        async with self._turn(name, urgent=True) as deadline:
            row = await self._store.read(name, deadline=deadline)
            if row is None or row.holder is None:
                raise LeaseNotFound(f"nobody holds lease {name!r}")
            answer = await self._store.release(TermKey(name, row.holder, row.token), deadline=deadline)
            if isinstance(answer, Over):
                raise LeaseUnavailable("the lease changed hands in this very moment: nothing was changed")
            self._note(Forced(name, row.token))
        log.warning(
            "lease released by force",
            extra={"lease": name, "holder": row.holder, "token": row.token, "actor": actor},
        )
        return row

    async def get(self, name: str) -> Standing:
        """Return the lease as PostgreSQL has it. Raises LeaseNotFound, LeaseUnavailable."""
        terms.check_name(name)
        async with self._turn(None, urgent=False) as deadline:
            row = await self._store.read(name, deadline=deadline)
        if row is None:
            raise wording.not_found(name)
        self._note(Seen(row.name, row.token))
        return Standing(row, max(0.0, row.valid_for_seconds))

    async def list(self, *, after: str = "", prefix: str = "", limit: int = 100) -> Sequence[Standing]:
        """Return up to *limit* leases past *after*, by name. Raises LeaseUnavailable."""
        async with self._turn(None, urgent=False) as deadline:
            rows = await self._store.read_all(after=after, prefix=prefix, limit=limit, deadline=deadline)
        return [Standing(row, max(0.0, row.valid_for_seconds)) for row in rows]

    def leader(self, name: str) -> Belief | None:
        """Return the term of *name* if it is held through this process and trusted now. From memory."""
        return self._book.leader(name, now=self._clock.boottime())

    def trust_seconds(self, belief: Belief) -> float:
        """How long *belief* may still be relied on; never below 0."""
        return max(0.0, belief.trusted_until - self._clock.boottime())

    # Inside

    @asynccontextmanager
    async def _turn(self, name: str | None, *, urgent: bool) -> AsyncIterator[float]:
        if self._stopped:
            raise ShuttingDown("poolguard has stopped")
        deadline = self._clock.monotonic() + REQUEST_SECONDS
        if not self.ready:
            raise LeaseUnavailable("leases can't be used yet: nothing was changed", detail=self.last_error)
        async with self._gate.turn(name, urgent=urgent, seconds=REQUEST_SECONDS):
            yield deadline

    def _trusted(self, row: Row) -> Standing:
        belief = self._book.leader(row.name, now=self._clock.boottime())
        mine = belief is not None and belief.token == row.token
        return Standing(row, self.trust_seconds(belief) if belief is not None and mine else 0.0)

    def _note(self, fact: Fact) -> None:
        for change in self._book.take(fact, now=self._clock.boottime()):
            match change:
                case Began(belief):
                    log.info("lease held", extra=_facts(belief))
                case Ended(belief, reason):
                    if reason is not None:  # else it was given back: release() says so, once PostgreSQL has
                        self.counters.lost[reason] += 1
                        log.warning("lease lost", extra={**_facts(belief), "reason": reason.value})
                case Extended():
                    pass
                case _:
                    assert_never(change)

    async def _sweep(self) -> None:
        due = self._clock.monotonic()
        while True:
            self._note(TimePassed())
            due = max(due + _SWEEP_SECONDS, self._clock.monotonic())
            await self._clock.sleep_until(due)

    async def _prepare(self) -> None:
        for attempt in range(2**31):
            try:
                await self._store.prepare()
            except (LeaseUnavailable, LeaseUnknown) as error:
                told = " ".join(part for part in (error.message, error.detail, error.hint) if part)
                if told != self.last_error:
                    log.warning("leases can't be used yet", extra={"reason": told})
                self.last_error = told
                pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                await self._clock.sleep_until(self._clock.monotonic() + pause)
            else:
                self.last_error = ""
                self._ready.set()
                log.info("leases ready")
                return

    def _crashed(self, task: str, error: BaseException) -> None:
        self.last_error = f"{task} failed: {type(error).__name__}"
        log.error("lease task failed", extra={"task": task}, exc_info=error)


def _confirmed(row: Row, sent_at: float) -> Confirmed:
    assert row.holder is not None, "a confirmed term has a holder"
    return Confirmed(
        name=row.name,
        holder=row.holder,
        token=row.token,
        transitions=row.transitions,
        ttl_seconds=row.ttl_seconds,
        valid_for_seconds=row.valid_for_seconds,
        sent_at=sent_at,
    )


def _facts(belief: Belief) -> dict[str, object]:
    return {"lease": belief.name, "holder": belief.holder, "token": belief.token}


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
