"""poolguard acquires and renews for applications that campaign, each in a task of its own, while they prove to live."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from random import random
from typing import Final
from uuid import uuid4

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import (
    LeaseBusy,
    LeaseHeld,
    LeaseLost,
    LeaseUnavailable,
    LeaseUnknown,
    PoolguardError,
    ShuttingDown,
)
from poolguard.lease import proof
from poolguard.lease.book import Belief
from poolguard.lease.campaign import Campaign, End, GiveUp, Phase, Renew, Rest, Try
from poolguard.lease.manager import LeaseManager
from poolguard.lease.terms import Row, StepDown, TermKey, Wanted
from poolguard.lease.watcher import Watch

log = logging.getLogger(__name__)

MAX_CAMPAIGNS: Final = 200
MAX_STREAMS: Final = 4
"""Of one campaign: each takes a connection of the control listener, and lease requests need theirs."""
CHECKS_PER_LIVENESS: Final = 3
"""How often a process or URL is looked at while the application may be silent."""
CHECK_AT_LEAST_SECONDS: Final = 60.0


@dataclass(eq=False, slots=True)
class Run:
    """One campaign that runs. Others read it; only `Campaigns` changes it."""

    id: str
    """The requestId by which the application names it."""
    campaign: Campaign
    watch: Watch
    prove: proof.Proof | None
    """None: the application's own words are the proof, and its open streams."""
    closing: ExitStack
    readers: set[asyncio.Event] = field(default_factory=set)
    """Each set at every change."""
    metadata_told: Mapping[str, object] | None = None
    """What PostgreSQL has."""
    leftover: TermKey | None = None
    """A term that is trusted no longer, and may still run in PostgreSQL."""
    asked: "StepDown | End | None" = None
    """What somebody wants of it, to be done before anything else."""
    answered: "asyncio.Future[None] | None" = None

    @property
    def leader(self) -> Row | None:
        """Whose term runs, as it was seen last; of several slots, the first that is held."""
        if self.campaign.phase is Phase.ENDED:
            return None  # nobody looks any more
        rows = [self.watch.topic(name).row for name in self.watch.names]
        return next((row for row in rows if row is not None and row.running), None)

    def changed(self) -> None:
        """Tell the readers."""
        for reader in self.readers:
            reader.set()

    @contextmanager
    def read(self) -> Iterator[asyncio.Event]:
        """An open event stream: proof while it lasts. The event is set at every change. Raises LeaseBusy."""
        if len(self.readers) >= MAX_STREAMS:
            raise LeaseBusy(f"{MAX_STREAMS} streams of this campaign are open already")
        news = asyncio.Event()
        self.readers.add(news)
        self.campaign.streams += 1
        try:
            yield news
        finally:
            self.readers.discard(news)
            self.campaign.streams -= 1


class Campaigns:
    """A Service (`aio.service`), beside the LeaseManager that it asks."""

    name: Final = "campaigns"

    def __init__(self, manager: LeaseManager, clock: Clock) -> None:
        self.manager: Final = manager
        self._clock: Final = clock
        self._runs: Final[dict[tuple[str, str], Run]] = {}
        self._tasks: Final = TaskOwner(self._crashed)
        self._draining = False
        manager.on_ended.append(self._belief_ended)

    # Service

    async def start(self) -> None:
        """Nothing runs before an application asks."""

    async def drain(self, deadline: float) -> None:
        """Resign from everything, so that others can lead before this process has gone."""
        self._draining = True
        waiting = [self._ask(run, End.STOPPING) for run in self.runs()]
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - self._clock.monotonic()))

    async def stop(self) -> None:
        """End every task. Terms that were not given back in drain() run out."""
        self._draining = True
        await self._tasks.close()

    # Requests

    def runs(self, name: str | None = None) -> Sequence[Run]:
        """All that run, of lease *name* if it is given, oldest first."""
        return [run for run in self._runs.values() if name is None or run.campaign.wish.name == name]

    def get(self, name: str, request_id: str) -> Run | None:
        """The one that goes by this requestId."""
        return self._runs.get((name, request_id))

    def campaign(self, wish: Wanted, *, liveness_seconds: float, prove: proof.Proof | None) -> tuple[Run, bool]:
        """Begin a campaign, or take note that the application of the same requestId lives; True: it is new.

        A repeated request changes metadata at once, and everything else for the next term. Raises LeaseBusy if there
        are too many, ShuttingDown.
        """
        if self._draining:
            raise ShuttingDown("poolguard stops: it campaigns for nobody any more")
        now = self._clock.monotonic()
        run = self._runs.get((wish.name, wish.request_id))
        if run is not None and run.campaign.wish.slots == wish.slots and run.campaign.wish.holder == wish.holder:
            campaign = run.campaign
            if not campaign.checked:
                campaign.proven(now=now)
            campaign.wish = replace(wish, request_id=campaign.wish.request_id)
            campaign.liveness_seconds, campaign.checked = liveness_seconds, prove is not None
            run.prove = prove
            if wish.metadata is not None and wish.metadata != run.metadata_told and campaign.phase is Phase.LEADING:
                campaign.renew_at = now
            run.watch.news.set()
            return run, False
        if run is not None:
            raise LeaseBusy("this requestId campaigns already, with another holderIdentity or number of slots")
        if len(self._runs) >= MAX_CAMPAIGNS:
            raise LeaseBusy(f"{MAX_CAMPAIGNS} campaigns run through this poolguard: it takes no more")
        return self._begin(wish, liveness_seconds, prove, now), True

    def _begin(self, wish: Wanted, liveness_seconds: float, prove: proof.Proof | None, now: float) -> Run:
        closing = ExitStack()
        watch = closing.enter_context(self.manager.watcher.watch(wish.slot_names))
        campaign = Campaign(
            replace(wish, request_id=str(uuid4())), liveness_seconds, checked=prove is not None, proven_at=now
        )
        run = Run(wish.request_id, campaign, watch, prove, closing)
        self._runs[wish.name, run.id] = run
        self._count()
        self._tasks.spawn(self._drive(run), name=f"campaign {wish.name}")
        return run

    async def withdraw(self, run: Run) -> None:
        """End the campaign; its term, if it has one, is released."""
        await self._ask(run, End.WITHDRAWN)

    async def step_down(self, name: str, how: StepDown) -> Row | None:
        """End the term of *name*, in favour of others: at once if it was won by a campaign here (then None).

        Else its holder is asked to, and the lease as it stands is returned. Raises LeaseNotFound, LeaseUnavailable,
        LeaseUnknown.
        """
        for run in self._runs.values():
            if run.campaign.term is not None and run.campaign.term.name == name:
                await self._ask(run, how)
                return None
        return await self.manager.ask_to_step_down(name, how)

    def _ask(self, run: Run, what: "StepDown | End") -> "asyncio.Future[None]":
        if run.answered is None or run.answered.done():
            run.answered = asyncio.get_running_loop().create_future()
        run.asked = what
        run.watch.news.set()
        return run.answered

    # One campaign

    async def _drive(self, run: Run) -> None:
        proving = self._tasks.spawn(self._prove(run), name=f"proof {run.campaign.wish.name}")
        try:
            while run.campaign.phase is not Phase.ENDED:
                await self._step(run)
        finally:
            proving.cancel()
            del self._runs[run.campaign.wish.name, run.id]
            self._count()
            run.closing.close()
            if run.campaign.phase is not Phase.ENDED:
                run.campaign.ended(End.STOPPING)
            assert run.campaign.end is not None, "an ended campaign has a reason"
            self.manager.counters.campaigns_ended[run.campaign.end.value] += 1
            run.changed()
            if run.answered is not None and not run.answered.done():
                run.answered.set_result(None)

    async def _step(self, run: Run) -> None:
        if run.asked is not None:
            await self._obey(run, run.asked)
            return
        match run.campaign.step(now=self._clock.monotonic()):
            case Try():
                await self._try(run)
            case Renew():
                await self._renew(run)
            case GiveUp():
                self._give_up(run)
            case Rest(until):
                if await run.watch.changed(until):
                    self._look(run)

    async def _obey(self, run: Run, asked: "StepDown | End") -> None:
        campaign, term = run.campaign, run.campaign.term
        how = asked if isinstance(asked, StepDown) else StepDown()
        if term is not None:
            await self._let_go(run, term, how)
        run.asked = None
        if isinstance(asked, End):
            campaign.ended(asked)
        elif how.preferred != campaign.wish.holder:
            campaign.refused(for_seconds=how.hold_off_seconds, now=self._clock.monotonic(), jitter=_jitter())
        if run.answered is not None and not run.answered.done():
            run.answered.set_result(None)

    async def _try(self, run: Run) -> None:
        campaign = run.campaign
        if run.leftover is not None:
            # Trusted no longer, so nobody acts on it: giving it back spares everybody the wait for its end.
            await self._let_go(run, run.leftover, StepDown())
        now = self._clock.monotonic()
        try:
            acquired = await self.manager.acquire(campaign.wish)
        except LeaseLost:
            campaign.wish = replace(campaign.wish, request_id=str(uuid4()))
            campaign.unanswered(now=self._clock.monotonic())
        except LeaseHeld as error:
            campaign.refused(for_seconds=error.valid_for_ms / 1000, now=self._clock.monotonic(), jitter=_jitter())
            run.changed()
        except PoolguardError as error:
            self._unanswered(run, error)
        else:
            row = acquired.standing.row
            term = TermKey(row.name, campaign.wish.holder, row.token)
            campaign.wish = replace(campaign.wish, request_id=str(uuid4()))
            if acquired.standing.valid_for_seconds <= 0:
                run.leftover = term  # so slow an answer that nothing is left to rely on
                campaign.unanswered(now=self._clock.monotonic())
                return
            run.metadata_told = row.metadata
            campaign.granted(term, sent_at=now)
            self.manager.counters.acquire_wait_seconds.observe(self._clock.monotonic() - campaign.waiting_since)
            self._count()
            run.changed()

    async def _renew(self, run: Run) -> None:
        campaign, term = run.campaign, run.campaign.term
        assert term is not None, "who leads has a term"
        now, metadata = self._clock.monotonic(), campaign.wish.metadata
        try:
            renewed = await self.manager.renew(term, None if metadata == run.metadata_told else metadata)
        except LeaseLost:
            run.leftover = None
            if campaign.term == term:  # else the end of its belief has been told already
                campaign.lost(now=self._clock.monotonic())
                run.changed()
        except PoolguardError as error:
            if campaign.term == term:
                self._unanswered(run, error)
        else:
            if campaign.term != term:
                run.leftover = term  # trust ended while it was renewed, and the application was told
                return
            run.metadata_told = renewed.row.metadata
            campaign.renewed(sent_at=now)
            run.asked = renewed.row.step_down or run.asked
            run.changed()

    def _unanswered(self, run: Run, error: PoolguardError) -> None:
        if not isinstance(error, LeaseUnavailable | LeaseUnknown | ShuttingDown):
            raise error
        run.campaign.unanswered(now=self._clock.monotonic())

    def _give_up(self, run: Run) -> None:
        campaign, term = run.campaign, run.campaign.term
        campaign.ended(End.UNPROVEN)
        if term is not None:
            self.manager.abandon(term)
        log.warning(
            "campaign ended: no proof that the application lives",
            extra={
                "lease": campaign.wish.name,
                "holder": campaign.wish.holder,
                "silent_seconds": round(self._clock.monotonic() - campaign.proven_at, 1),
            },
        )

    def _look(self, run: Run) -> None:
        campaign = run.campaign
        for name in run.watch.names:
            topic = run.watch.topic(name)
            if topic.index is None:
                continue
            row = topic.row
            if campaign.term is not None:
                if row is not None and row.token == campaign.term.token and row.step_down is not None:
                    run.asked = run.asked or row.step_down
            elif row is None or _may_take(row, campaign.wish.holder):
                campaign.news(now=self._clock.monotonic())
        run.changed()

    async def _let_go(self, run: Run, term: TermKey, how: StepDown) -> None:
        # What can't be given back runs out by itself.
        with contextlib.suppress(PoolguardError):
            await self.manager.release(term, how)
        run.leftover = None

    async def _prove(self, run: Run) -> None:
        while True:
            if run.prove is not None and await run.prove():
                run.campaign.proven(now=self._clock.monotonic())
            often = max(proof.CHECK_SECONDS / 2, run.campaign.liveness_seconds / CHECKS_PER_LIVENESS)
            pause = min(often, CHECK_AT_LEAST_SECONDS)
            await self._clock.sleep_until(self._clock.monotonic() + pause)

    def _belief_ended(self, belief: Belief) -> None:
        for run in self._runs.values():
            term = run.campaign.term
            if term is not None and (term.name, term.token) == (belief.name, belief.token):
                run.leftover = term
                run.campaign.lost(now=self._clock.monotonic())
                self._count()
                run.changed()
                run.watch.news.set()

    def _count(self) -> None:
        phases = Counter(run.campaign.phase.value for run in self._runs.values())
        counted = self.manager.counters.campaigns
        counted.update({phase: phases[phase] for phase in counted})

    def _crashed(self, task: str, error: BaseException) -> None:
        log.error("campaign failed", extra={"task": task}, exc_info=error)


def _may_take(row: Row, holder: str) -> bool:
    return not row.running and (row.held_off is None or row.held_off.admits(holder))


def _jitter() -> float:
    return random()  # noqa: S311 - spreads load, keeps no secret
