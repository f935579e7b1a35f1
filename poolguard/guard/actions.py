"""Actions under way: each in a task of its own, at most one a transaction, none for ever."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import PoolguardError
from poolguard.core.ids import TransactionId
from poolguard.guard.conditions import IDLE
from poolguard.guard.history import Action, RuleName
from poolguard.guard.incidents import Incident, PoolState
from poolguard.guard.plan import Deed
from poolguard.guard.rules import Verdict
from poolguard.guard.traits import statements_of
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import ANYHOW, Hands, Outcome, Still
from poolguard.wire.fingerprint import fingerprint

log = logging.getLogger(__name__)

ACTION_SECONDS: Final = 15.0
"""An action without an answer for this long has failed: a harsher one may come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One action to carry out, with all that its incident will tell of the moment at which it was decided."""

    incident: str
    transaction: Transaction
    action: Action
    error: PoolguardError
    """What the client is told; of a cancel PostgreSQL tells it."""
    verdict: Verdict | None
    """None for an operator's order."""
    actor: str
    seen: float
    """When the facts were read (monotonic)."""
    at: float
    """The same moment on the wall clock."""
    pool_state: PoolState | None
    lock_tree: Mapping[str, object] | None = None
    """Who waited for its locks."""


@dataclass(slots=True)
class _Job:
    order: Order
    deed: Deed
    task: asyncio.Task[None] | None
    incident: asyncio.Future[Incident]
    gave_up: bool = False


class Actions:
    """Carries orders out. *on_end* is told of each exactly once and answers with its incident."""

    def __init__(self, hands: Hands, clock: Clock, on_end: Callable[[Order, Outcome, float], Incident]) -> None:
        self._hands = hands
        self._clock = clock
        self._on_end = on_end
        self._jobs: dict[TransactionId, _Job] = {}
        self._tasks = TaskOwner(_report_failure)

    @property
    def under_way(self) -> dict[TransactionId, Deed]:
        """What is being done right now, by transaction."""
        return {transaction: job.deed for transaction, job in self._jobs.items()}

    def begin(self, order: Order) -> asyncio.Future[Incident]:
        """Start *order* at the loop's next turn. Nothing may be under way on its transaction."""
        transaction = order.transaction
        assert transaction.id not in self._jobs, f"an action on transaction {transaction.id} is under way already"
        policy, rule = (order.verdict.policy, order.verdict.rule) if order.verdict is not None else ("", "")
        deed = Deed(self._clock.monotonic(), policy, transaction.pool, order.action, rule)
        job = _Job(order, deed, None, asyncio.get_running_loop().create_future())
        self._jobs[transaction.id] = job
        job.task = self._tasks.spawn(self._run(job), name=f"guard {order.action.value} {transaction.id}")
        return job.incident

    def give_up(self, now: float) -> None:
        """Cancel what has had no answer for `ACTION_SECONDS`: it counts as FAILED."""
        for job in self._jobs.values():
            if not job.gave_up and now - job.deed.at >= ACTION_SECONDS and job.task is not None:
                job.gave_up = True
                job.task.cancel()

    async def settle(self, deadline: float) -> None:
        """Return when nothing is under way any more, or at *deadline* (monotonic)."""
        waiting = [job.incident for job in self._jobs.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - self._clock.monotonic()))

    async def close(self) -> None:
        """Cancel everything; each has its incident when this returns."""
        await self._tasks.close()
        for job in list(self._jobs.values()):  # cancelled before its task took the first step
            self._end(job, Outcome.FAILED)

    async def _run(self, job: _Job) -> None:
        outcome = Outcome.FAILED
        try:
            outcome = await self._do(job.order)
            await read_statements(job.order.transaction)
        except asyncio.CancelledError:
            if not job.gave_up:
                raise
        except Exception:
            log.exception("an action of the guard raised", extra={"transaction": str(job.order.transaction.id)})
        finally:
            self._end(job, outcome)

    async def _do(self, order: Order) -> Outcome:
        transaction, still = order.transaction.id, _still(order)
        match order.action:
            case Action.CANCEL:
                return await self._hands.cancel(transaction, still)
            case Action.ROLLBACK:
                return await self._hands.rollback(transaction, order.error, still)
            case Action.TERMINATE:
                return await self._hands.terminate(transaction, order.error, still)
            case Action.WARN:
                raise AssertionError("a warning is noted, not carried out")
            case _:
                assert_never(order.action)

    def _end(self, job: _Job, outcome: Outcome) -> None:
        del self._jobs[job.order.transaction.id]
        try:
            incident = self._on_end(job.order, outcome, self._clock.monotonic() - job.deed.at)
        except Exception as error:
            job.incident.set_exception(error)
            job.incident.exception()  # read, so that nobody is told of it who did not ask
            raise
        if not job.incident.done():
            job.incident.set_result(incident)


def _still(order: Order) -> Still:
    """What must not have changed since the facts were read. A person means the transaction, whatever it does now."""
    if order.verdict is None or order.verdict.of.measure is RuleName.CHECKOUT_AGE:
        return ANYHOW
    is_about_now = order.action is Action.CANCEL or order.transaction.phase in IDLE
    return Still(
        began_at=order.seen - order.transaction.transaction_seconds,
        statements=order.transaction.statements if is_about_now else None,
    )


async def read_statements(transaction: Transaction) -> None:
    """Fingerprint them ahead of an incident, one a turn of the loop: hostile ones take milliseconds each."""
    for sql in statements_of(transaction):
        fingerprint(sql)  # remembers its answers
        await asyncio.sleep(0)


def _report_failure(name: str, error: BaseException) -> None:
    log.error("a task of the guard failed", extra={"task": name}, exc_info=error)
