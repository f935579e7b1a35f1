"""The shell round `judge` and `plan`: sweeps, and what operators do by hand. A `aio.service.Service`."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import ClientViolation, SettingsError, UnknownPool
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.actions import Actions, Order, read_statements
from poolguard.guard.book import IncidentBook
from poolguard.guard.case import Case
from poolguard.guard.counters import GuardCounters, Resolution
from poolguard.guard.exemptions import Spared
from poolguard.guard.explain import Explanation, explain
from poolguard.guard.history import ENDS, Action, History, RuleName
from poolguard.guard.incidents import Incident, IncidentOutcome, PoolState
from poolguard.guard.judge import is_young, judge_case, reads_statements
from poolguard.guard.locks.graph import Tree
from poolguard.guard.locks.state import Blocking
from poolguard.guard.plan import WINDOW_SECONDS, Carry, Deed, Limit, Note, Withhold, kills_left, plan
from poolguard.guard.records import Records
from poolguard.guard.report import Reporter, noted_outcome
from poolguard.guard.rules import Rules, Verdict, compile_policy
from poolguard.guard.traits import KnownTraits
from poolguard.guard.wording import error_by_hand, error_for
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Hands, Outcome
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Settings

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.1
LATE_SECONDS: Final = 1.0
"""A sweep this late means that the process stood still: sockets hold what clients said meanwhile."""


class Guard:
    """Sweeps every `SWEEP_SECONDS` and acts through *hands*.

    *transactions* gives the facts of all holders at a monotonic time (`Ledger.transactions`), *snapshot* a pool's
    numbers, *blocking* whose locks others wait for, *tree_of* who those others are, *has_session* whether a client is
    still there. With *observe*, every policy only observes, whatever its mode.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        transactions: Callable[[float], Sequence[Transaction]],
        hands: Hands,
        snapshot: Callable[[str], PoolSnapshot | None],
        book: IncidentBook,
        settings: Settings,
        settings_hash: str,
        observe: bool = False,
        blocking: Callable[[], Mapping[TransactionId, Blocking]] = dict,
        tree_of: Callable[[TransactionId], Tree | None] = lambda _: None,
        has_session: Callable[[SessionId], bool] = lambda _: True,
    ) -> None:
        self.counters: Final = GuardCounters()
        self.book: Final = book
        self._clock = clock
        self._transactions = transactions
        self._blocking = blocking
        self._has_session = has_session
        self._observe = observe
        self._actions = Actions(hands, clock, self._ended)
        self._records = Records()
        self._read = KnownTraits()
        self._reporter = Reporter(clock, book, snapshot, self._records, self.counters, tree_of)
        self._done: deque[Deed] = deque()
        self._rules: dict[str, Rules] = {}
        self._sizes: dict[str, int] = {}
        self._service = TaskOwner(_report_failure)
        self.reconfigure(settings, settings_hash)

    @property
    def name(self) -> str:
        """The service's name."""
        return "guard"

    def reconfigure(self, settings: Settings, settings_hash: str) -> None:
        """Judge by *settings* from the next sweep on. What was done stays done; actions under way go on.

        Raises SettingsError, and changes nothing, if a pool names a policy that there is not.
        """
        rules: dict[str, Rules] = {}
        for name, pool in settings.pools.items():
            policy = settings.policies.get(pool.policy)
            if policy is None:
                raise SettingsError(f"pools.{name}.policy: there is no policy named {pool.policy!r}")
            rules[name] = compile_policy(pool.policy, policy, observe=self._observe)
        turned = {name for name, old in self._rules.items() if name in rules and rules[name].modes != old.modes}
        self._records.settings_changed(turned)
        # A pool that left the settings drains under the rules that it had: a leak would keep it for ever.
        self._rules |= rules
        self._sizes |= {name: pool.size for name, pool in settings.pools.items()}
        self.book.settings_hash = settings_hash

    async def start(self) -> None:
        """Begin to sweep."""
        self._service.spawn(self.run(), name=self.name)

    async def drain(self, deadline: float) -> None:
        """Wait for the actions under way. Sweeps go on: a leak must not hold up everybody else's drain."""
        await self._actions.settle(deadline)

    async def stop(self) -> None:
        """End sweeps and actions; those under way are recorded as failed."""
        await self._service.close()
        await self._actions.close()

    async def run(self) -> None:
        """Sweep for ever. A slow sweep is not repaid in bursts; one that raises is logged, and the next one runs."""
        due = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now - due >= LATE_SECONDS:
                # Not one client could be heard: what looks idle may have spoken. The relay reads before the next sweep.
                self.counters.late_sweeps += 1
                log.warning("the process stood still: this sweep judges nothing", extra={"late_seconds": now - due})
                due = now + SWEEP_SECONDS
            else:
                try:
                    await self.sweep(now)
                except Exception:
                    self.counters.sweep_failures += 1
                    log.exception("a sweep of the guard raised")
                due = max(due + SWEEP_SECONDS, self._clock.monotonic())
            await self._clock.sleep_until(due)

    async def sweep(self, now: float) -> None:
        """Judge everything that holds a server, and start what is due. *now* is monotonic.

        When this returns, every action that it started has taken its first step, and warnings are recorded.
        """
        started = self._clock.monotonic()
        self._actions.give_up(now)
        under_way = self._actions.under_way
        transactions = self._with_blocking(self._transactions(now))
        self.counters.idle_gaps.see(transactions, now)
        alive = {transaction.id for transaction in transactions} | under_way.keys()
        for gone, pool, history in self._records.purge(alive):
            if RuleName.IDLE_IN_TRANSACTION in history.reached:
                self.counters.leaks[pool, self._resolution(gone, history).value] += 1
        self._read.purge(alive)
        while self._done and self._done[0].at <= now - WINDOW_SECONDS:
            self._done.popleft()
        verdicts, protected = await self._judge_all(transactions, now)
        notes: list[tuple[Verdict, IncidentOutcome, Spared | Limit | None]] = []
        exhausted: set[str] = set()
        for step in plan(verdicts, sizes=self._sizes, under_way=under_way, done=self._done, now=now):
            verdict = step.verdict
            match step:
                case Carry():
                    self._actions.begin(self._order(verdict.transaction, verdict.action, verdict, self.name, now))
                case Note():
                    self._records.note(verdict, Outcome.DONE, seen=now, now=now)
                    notes.append((verdict, noted_outcome(verdict), None))
                case Withhold(limit=limit):
                    exhausted.add(verdict.policy)
                    if not self._withhold(verdict, limit, now):
                        continue
                    notes.append((verdict, IncidentOutcome.BUDGET, limit))
                case _:
                    assert_never(step)
            self.counters.matches[verdict.rule, verdict.mode.value] += 1
        for verdict, reason in protected:
            if self._records.withhold(verdict.transaction, verdict.rule, verdict.action, seen=now):
                self.counters.matches[verdict.rule, verdict.mode.value] += 1
                self.counters.spared[verdict.policy, reason.value] += 1
                notes.append((verdict, IncidentOutcome.SPARED, reason))
        self.counters.exhausted_now &= exhausted
        self.counters.sweeps += 1
        self.counters.sweep_seconds.observe(self._clock.monotonic() - started)
        await asyncio.sleep(0)
        for verdict, outcome, spared in notes:
            await read_statements(verdict.transaction)
            self._reporter.noted(verdict, outcome, self._kills_left(verdict), spared)

    def _resolution(self, transaction: TransactionId, history: History) -> Resolution:
        if history.ended:
            return Resolution.ENDED
        return Resolution.RETURNED if self._has_session(transaction.session) else Resolution.DISCONNECTED

    def _with_blocking(self, transactions: Sequence[Transaction]) -> Sequence[Transaction]:
        blocking = self._blocking()
        if not blocking:
            return transactions
        return [
            replace(transaction, blocking=found.sessions, blocking_seconds=found.seconds)
            if (found := blocking.get(transaction.id)) is not None
            else transaction
            for transaction in transactions
        ]

    async def _judge_all(
        self, transactions: Sequence[Transaction], now: float
    ) -> tuple[list[Verdict], list[tuple[Verdict, Spared]]]:
        verdicts: list[Verdict] = []
        protected: list[tuple[Verdict, Spared]] = []
        pools: dict[str, PoolState | None] = {}
        for transaction in transactions:
            rules = self._rules.get(transaction.pool)
            if rules is None or is_young(transaction, rules):
                continue  # or a pool that no settings ever named
            if rules.asks_pool and transaction.pool not in pools:
                pools[transaction.pool] = self._reporter.pool_state(transaction.pool)
            case = Case(transaction, pools.get(transaction.pool), self._read.get(transaction))
            before = self._records.history(transaction.id)
            if not case.has_traits and reads_statements(case, rules, before, now):
                await read_statements(transaction)
                self._read.keep(transaction, case.traits)
            judgement = judge_case(case, rules, before, now)
            if judgement.spared is not None:
                self.counters.spared[rules.policy, judgement.spared.value] += 1
            if judgement.remember:
                self._records.keep(transaction, judgement.history)
            verdicts += judgement.verdicts
            protected += judgement.protected
        return verdicts, protected

    def _withhold(self, verdict: Verdict, limit: Limit, now: float) -> bool:
        """Say loudly what is left undone. True if this was not known yet of this step."""
        if verdict.policy not in self.counters.exhausted_now:
            self.counters.exhausted_now.add(verdict.policy)
            log.error(
                "the guard's budget is used up: what is due is left alone until time passes or a person acts",
                extra={"policy": verdict.policy, "pool": verdict.transaction.pool, "limit": limit.value},
            )
        if not self._records.withhold(verdict.transaction, verdict.rule, verdict.action, seen=now):
            return False
        self.counters.budget_exhausted[verdict.policy] += 1
        return True

    def _order(
        self, transaction: Transaction, action: Action, verdict: Verdict | None, actor: str, now: float
    ) -> Order:
        incident = self.book.new_id()
        return Order(
            incident=incident,
            transaction=transaction,
            action=action,
            error=error_for(verdict, incident) if verdict else error_by_hand(transaction, action, incident),
            verdict=verdict,
            actor=actor,
            seen=now,
            at=self._clock.wall(),
            pool_state=self._reporter.pool_state(transaction.pool),
            lock_tree=self._reporter.lock_tree(transaction),
        )

    def _ended(self, order: Order, outcome: Outcome, seconds: float) -> Incident:
        verdict = order.verdict
        if verdict is None:
            if outcome is Outcome.DONE and order.action in ENDS:
                self._records.ended(order.transaction, seen=order.seen)
            rules = self._rules.get(order.transaction.pool)
            return self._reporter.by_hand(order, rules.policy if rules else "", outcome, seconds)
        # FAILED may have ended something all the same.
        if outcome in {Outcome.DONE, Outcome.FAILED}:
            deed = Deed(self._clock.monotonic(), verdict.policy, order.transaction.pool, order.action, verdict.rule)
            self._done.append(deed)
        self._records.note(verdict, outcome, seen=order.seen, now=self._clock.monotonic())
        return self._reporter.carried_out(order, verdict, outcome, seconds, self._kills_left(verdict))

    def _kills_left(self, verdict: Verdict) -> int:
        return kills_left(verdict, self._done, self._clock.monotonic())

    async def explain(self, transaction_id: TransactionId) -> Explanation:
        """Say which rule matches a transaction that holds a server, key by key. Raises UnknownPool if it is over."""
        transaction = self._find(transaction_id, self._clock.monotonic())
        await read_statements(transaction)
        now = self._clock.monotonic()
        transaction = self._find(transaction_id, now)
        rules = self._rules.get(transaction.pool)
        if rules is None:
            raise UnknownPool(f"pool {transaction.pool!r} is gone, and with it its policy")
        case = Case(transaction, self._reporter.pool_state(transaction.pool))
        return explain(case, rules, self._records.history(transaction_id), now)

    def _find(self, transaction_id: TransactionId, now: float) -> Transaction:
        for transaction in self._with_blocking(self._transactions(now)):
            if transaction.id == transaction_id:
                return transaction
        raise UnknownPool(
            f"no transaction {transaction_id} holds a server: it is over, or never was",
            hint="`poolguard ps`, SHOW TRANSACTIONS and GET /v1/transactions list those that do.",
        )

    async def by_hand(self, transaction_id: TransactionId, action: str, actor: str) -> Incident:
        """Do *action* (cancel, rollback or terminate) on *actor*'s order, outside of rules and budget.

        Returns when it has ended; it goes on if the caller goes away. The outcome is REFUSED also while another action
        is under way on it. Raises UnknownPool if no such transaction holds a server, ClientViolation for any other
        action.
        """
        if action not in {Action.CANCEL.value, Action.ROLLBACK.value, Action.TERMINATE.value}:
            raise ClientViolation(f"no such action: {action[:32]!r}", hint="Use cancel, rollback or terminate.")
        now = self._clock.monotonic()
        order = self._order(self._find(transaction_id, now), Action(action), None, actor, now)
        if transaction_id in self._actions.under_way:
            return self._ended(order, Outcome.REFUSED, 0.0)
        return await asyncio.shield(self._actions.begin(order))


def _report_failure(name: str, error: BaseException) -> None:
    log.critical("the guard ended", extra={"task": name}, exc_info=error)
