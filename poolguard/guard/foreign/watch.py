"""Judges what is not ours after each look at the locks, and acts: the shell round `judge` and `plan`. A `Service`."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, assert_never

from poolguard.core.clock import Clock
from poolguard.core.errors import PoolguardError
from poolguard.core.ids import TransactionId
from poolguard.guard.actions import Actions, Order
from poolguard.guard.book import IncidentBook
from poolguard.guard.case import Case
from poolguard.guard.counters import GuardCounters
from poolguard.guard.foreign.report import SECTION, incident_of
from poolguard.guard.foreign.suspects import Suspect, Suspects
from poolguard.guard.foreign.untouchable import untouchable
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident, IncidentOutcome
from poolguard.guard.judge import judge_case
from poolguard.guard.locks.backends import Identity
from poolguard.guard.locks.state import LockState, Tier
from poolguard.guard.plan import WINDOW_SECONDS, Carry, Deed, Note, Withhold, kills_left, plan
from poolguard.guard.records import Records
from poolguard.guard.report import noted_outcome
from poolguard.guard.rules import Rules, Verdict, compile_policy
from poolguard.guard.wording import error_for
from poolguard.ledger.hands import ANYHOW, Outcome, Still
from poolguard.settings.model import Settings

log = logging.getLogger(__name__)

_NO_POOL: Final = {"": 1_000_000}
"""What is not ours belongs to no pool, so that no share of one can be used up."""


class Ender(Protocol):
    """Ends a backend that still does what *identity* says, and looks whether it obeyed: the observer."""

    def __call__(self, identity: Identity, *, terminate: bool) -> Awaitable[Outcome]: ...


class _Hands:
    """The observer as the guard's hands: an action names the transaction, the signal its whole identity."""

    def __init__(self, end: Ender, suspects: dict[TransactionId, Suspect]) -> None:
        self._end = end
        self._suspects = suspects

    async def cancel(self, transaction: TransactionId, still: Still = ANYHOW) -> Outcome:
        return await self._end(self._suspects[transaction].backend.identity, terminate=False)

    async def rollback(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        raise AssertionError("nobody rolls back what is not his: the settings have no such step")

    async def terminate(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        return await self._end(self._suspects[transaction].backend.identity, terminate=True)


class ForeignWatch:
    """See the package's docstring. *ours* gives the pids of all our servers; with *observe* nothing is ever ended."""

    name = "foreign blockers"

    def __init__(
        self,
        *,
        clock: Clock,
        locks: LockState,
        book: IncidentBook,
        end: Ender,
        ours: Callable[[], Collection[int]],
        settings: Settings,
        observe: bool = False,
    ) -> None:
        self.counters: Final = GuardCounters()
        self._clock = clock
        self._locks = locks
        self._book = book
        self._ours = ours
        self._observe = observe
        self._suspects = Suspects()
        self._seen: dict[TransactionId, Suspect] = {}
        self._records = Records()
        self._actions = Actions(_Hands(end, self._seen), clock, self._ended)
        self._done: deque[Deed] = deque()
        self._tier_told: Tier | None = None
        self._rules: Rules
        self.reconfigure(settings)

    async def start(self) -> None:
        """Nothing: whoever looks at locks calls `look`."""

    async def drain(self, deadline: float) -> None:
        """Wait for the actions under way."""
        await self._actions.settle(deadline)

    async def stop(self) -> None:
        """Give up what is under way; it is recorded as failed."""
        await self._actions.close()

    def reconfigure(self, settings: Settings) -> None:
        """Judge by *settings* from the next look on."""
        rules = compile_policy(SECTION, settings.foreign_blockers.as_policy(), observe=self._observe)
        changed = hasattr(self, "_rules") and rules.modes != self._rules.modes
        self._rules = rules
        self._records.settings_changed({""} if changed else ())

    async def look(self) -> None:
        """Judge the roots of the graph that was just read, and start what is due. Never raises but to be cancelled."""
        try:
            self._judge(self._clock.monotonic())
        except Exception:
            self.counters.sweep_failures += 1
            log.exception("judging lock holders that are not ours raised")

    def _judge(self, now: float) -> None:
        if not self._rules.rules or not self._can_tell():
            return
        self._actions.give_up(now)
        under_way = self._actions.under_way
        suspects = self._suspects.read(self._locks.graph, now, self._ours())
        alive = self._suspects.remembered | under_way.keys()
        self._records.purge(alive)
        for gone in self._seen.keys() - alive:
            del self._seen[gone]
        while self._done and self._done[0].at <= now - WINDOW_SECONDS:
            self._done.popleft()
        verdicts: list[Verdict] = []
        for suspect in suspects:
            if suspect.transaction.id not in under_way:  # else its identity is what the action goes by
                self._seen[suspect.transaction.id] = suspect
                verdicts += self._verdicts(suspect, now)
        for step in plan(verdicts, sizes=_NO_POOL, under_way=under_way, done=self._done, now=now):
            verdict = step.verdict
            match step:
                case Carry():
                    self._actions.begin(self._order(verdict, now))
                case Note():
                    self._records.note(verdict, Outcome.DONE, seen=now, now=now)
                    self._record(verdict, noted_outcome(verdict))
                case Withhold(limit=limit):
                    if self._records.withhold(verdict.transaction, verdict.rule, verdict.action, seen=now):
                        log.error("the budget of foreign_blockers is used up", extra={"limit": limit.value})
                        self._record(verdict, IncidentOutcome.BUDGET)
                case _:
                    assert_never(step)

    def _can_tell(self) -> bool:
        """Whether what is ours can be told from what is not; and say what our role lacks, once for each change."""
        tier = self._locks.tier
        if tier != self._tier_told and (tier.pid_opaque or not (tier.sees_all and tier.may_signal)):
            log.warning(
                "foreign_blockers has rules that can't be carried out in full: pid_opaque means that another pooler "
                "stands in between, else GRANT pg_signal_backend and pg_read_all_stats to poolguard's role",
                extra={"privilege_tier": tier.name, "sees_all": tier.sees_all, "pid_opaque": tier.pid_opaque},
            )
        self._tier_told = tier
        return not tier.pid_opaque

    def _verdicts(self, suspect: Suspect, now: float) -> list[Verdict]:
        """What is due. What is protected is left, and told once."""
        case = Case(suspect.transaction, traits=suspect.traits)
        judgement = judge_case(case, self._rules, self._records.history(suspect.transaction.id), now)
        if judgement.remember:
            self._records.keep(suspect.transaction, judgement.history)
        due = list(judgement.verdicts)
        spared: list[tuple[Verdict, str]] = [(verdict, reason.value) for verdict, reason in judgement.protected]
        reason = untouchable(suspect.backend)
        if reason is not None:
            spared += [(verdict, reason.value) for verdict in due if verdict.action is not Action.WARN]
            due = [verdict for verdict in due if verdict.action is Action.WARN]
        for verdict, why in spared:
            if self._records.withhold(verdict.transaction, verdict.rule, verdict.action, seen=now):
                self._record(verdict, IncidentOutcome.SPARED, spared_by=why)
        return due

    def _order(self, verdict: Verdict, now: float) -> Order:
        incident = self._book.new_id()
        return Order(
            incident=incident,
            transaction=verdict.transaction,
            action=verdict.action,
            error=error_for(verdict, incident),
            verdict=verdict,
            actor="guard",
            seen=now,
            at=self._clock.wall(),
            pool_state=None,
        )

    def _ended(self, order: Order, outcome: Outcome, seconds: float) -> Incident:
        verdict = order.verdict
        assert verdict is not None, "what is not ours is ended by rules only"
        if outcome in {Outcome.DONE, Outcome.FAILED}:
            self._done.append(Deed(self._clock.monotonic(), verdict.policy, "", order.action, verdict.rule))
        self._records.note(verdict, outcome, seen=order.seen, now=self._clock.monotonic())
        # It is tried at each look, as a GRANT may come at any time; one incident for each would wash out all others.
        again = outcome is Outcome.NO_PRIVILEGE and not self._records.withhold(
            order.transaction, verdict.rule, verdict.action, seen=order.seen
        )
        return self._record(
            verdict,
            IncidentOutcome(outcome.value),
            incident_id=order.incident,
            at=order.at,
            seconds=seconds,
            tell=not again,
        )

    def _record(
        self,
        verdict: Verdict,
        outcome: IncidentOutcome,
        *,
        incident_id: str = "",
        at: float | None = None,
        seconds: float = 0.0,
        spared_by: str | None = None,
        tell: bool = True,
    ) -> Incident:
        transaction = verdict.transaction.id
        incident = incident_of(
            self._seen[transaction],
            verdict,
            outcome,
            incident_id=incident_id or self._book.new_id(),
            at=self._clock.wall() if at is None else at,
            settings_hash=self._book.settings_hash,
            kills_left=kills_left(verdict, self._done, self._clock.monotonic()),
            seconds=seconds,
            spared_by=spared_by,
            timeline=self._records.timeline(transaction),
        )
        self.counters.actions["", verdict.rule, verdict.action.value, outcome.value] += 1
        if tell:
            self._book.record(incident)
            self._records.add_to_timeline(transaction, incident)
        return incident
