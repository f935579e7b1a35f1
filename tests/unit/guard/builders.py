"""Transactions, policies and hands with plain values, for tests of the guard."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poolguard.core.errors import PoolguardError
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.book import IncidentBook
from poolguard.guard.guard import Guard
from poolguard.guard.history import Action, RuleName
from poolguard.guard.locks.graph import Tree
from poolguard.guard.locks.state import Blocking
from poolguard.guard.rules import Rule, Rules, Verdict, compile_policy
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import ANYHOW, Outcome, Still
from poolguard.settings.model import Pool, Settings
from poolguard.settings.policies import Ladder, Policy
from tests.support.clock import ManualClock
from tests.support.snapshots import pool_snapshot

NOW = 1000.0

LADDERS = Policy(
    idle_in_transaction=Ladder(warn=10.0, rollback=60.0, terminate=300.0),
    transaction_age=Ladder(warn=100.0, cancel=200.0, rollback=400.0, terminate=800.0),
    statement_age=Ladder(warn=20.0, cancel=50.0, terminate=150.0),
    checkout_age=Ladder(warn=600.0, terminate=2000.0),
)


def transaction(session: int = 1, *, checkout: int = 1, **changes: Any) -> Transaction:
    """An idle transaction, open for 5 s, but for *changes*."""
    values: dict[str, Any] = {
        "pool": "app",
        "user": "bob",
        "database": "shop",
        "application_name": "checkout",
        "client_address": "127.0.0.1:40000",
        "backend_pid": 4711,
        "phase": Phase.IDLE_IN_TRANSACTION,
        "phase_seconds": 5.0,
        "transaction_seconds": 5.0,
        "statement_seconds": 0.0,
        "checkout_seconds": 5.0,
        "statements": 2,
        "statement": b"select 'secret'",
        "recent": (b"begin", b"select 'secret'"),
        "pin": "",
    }
    return Transaction(id=TransactionId(SessionId(session), checkout), **{**values, **changes})


def idle(seconds: float, session: int = 1, **changes: Any) -> Transaction:
    """A transaction that has been idle for *seconds*, and open for 1 s more."""
    ages = {"phase_seconds": seconds, "transaction_seconds": seconds + 1, "checkout_seconds": seconds + 1}
    return transaction(session, **{**ages, **changes})


def active(seconds: float, session: int = 1, **changes: Any) -> Transaction:
    """A transaction whose one statement has run for *seconds*."""
    ages = dict.fromkeys(("phase_seconds", "transaction_seconds", "statement_seconds", "checkout_seconds"), seconds)
    return transaction(session, **{"phase": Phase.ACTIVE, **ages, **changes})


def verdict(
    action: Action = Action.ROLLBACK,
    facts: Transaction | None = None,
    *,
    rule: RuleName = RuleName.IDLE_IN_TRANSACTION,
    rules: Rules | None = None,
) -> Verdict:
    """A verdict of 60 s on *facts*, by a ladder of *rules* or one like it."""
    rules = rules or compile_policy("app", LADDERS)
    like = Rule(name=rule, setting=f"policies.app.{rule.value}", steps=(), mode=rules.mode, measure=rule)
    return Verdict(
        transaction=facts or idle(61.0),
        rules=rules,
        of=next((found for found in rules.rules if found.name == rule), like),
        action=action,
        limit_seconds=60.0,
        actual_seconds=61.0,
    )


class FakeHands:
    """Writes down what it is told; answers `outcome`, or whatever `answer` does."""

    def __init__(self) -> None:
        self.calls: list[tuple[Action, TransactionId]] = []
        self.errors: list[PoolguardError] = []
        self.stills: list[Still] = []
        self.outcome = Outcome.DONE
        self.blocked: asyncio.Event | None = None
        self.raises: Exception | None = None

    async def cancel(self, transaction: TransactionId, still: Still = ANYHOW) -> Outcome:
        self.stills.append(still)
        return await self._do(Action.CANCEL, transaction)

    async def rollback(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        self.stills.append(still)
        return await self._do(Action.ROLLBACK, transaction, error)

    async def terminate(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        self.stills.append(still)
        return await self._do(Action.TERMINATE, transaction, error)

    async def _do(self, action: Action, transaction: TransactionId, error: PoolguardError | None = None) -> Outcome:
        self.calls.append((action, transaction))
        if error is not None:
            self.errors.append(error)
        if self.blocked is not None:
            await self.blocked.wait()
        if self.raises is not None:
            raise self.raises
        return self.outcome


class Scene:
    """A guard over transactions that the test puts there, with fake hands and a clock that the test moves."""

    def __init__(self, policy: Policy = LADDERS, *, size: int = 20, observe: bool = False) -> None:
        self.blocking: Mapping[TransactionId, Blocking] = {}
        self.trees: Mapping[TransactionId, Tree] = {}
        self.clock = ManualClock(NOW)
        self.hands = FakeHands()
        self.transactions: Sequence[Transaction] = ()
        self.look: Callable[[float], Sequence[Transaction]] = lambda _: self.transactions
        self.size = size
        self.book = IncidentBook(self.clock, self.snapshot)
        self.guard = Guard(
            clock=self.clock,
            transactions=lambda now: self.look(now),
            hands=self.hands,
            snapshot=self.snapshot,
            book=self.book,
            settings=self.settings(policy),
            settings_hash="abc",
            observe=observe,
            blocking=lambda: self.blocking,
            tree_of=lambda transaction: self.trees.get(transaction),
        )

    def snapshot(self, name: str) -> Any:
        return pool_snapshot(name, size=self.size, held=len(self.transactions))

    def settings(self, policy: Policy) -> Settings:
        return Settings(pools={"app": Pool(size=self.size, policy="app")}, policies={"app": policy})

    async def sweep(self, *transactions: Transaction) -> None:
        """Sweep over *transactions*, and let what it started come to its end."""
        self.transactions = transactions
        await self.guard.sweep(self.clock.monotonic())
        await self.settle()

    async def settle(self) -> None:
        """Let everything that can run, run."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def run(self, seconds: float) -> None:
        """Start the guard and let *seconds* pass, at each moment everything that can run."""
        await self.guard.start()
        await self.settle()
        await self.go_on(seconds)

    async def go_on(self, seconds: float) -> None:
        """Let *seconds* pass, in steps shorter than a sweep's interval."""
        for _ in range(round(seconds / 0.05)):
            await self.clock.advance(0.05)
            await self.settle()

    def story(self) -> list[tuple[str, str]]:
        """Action and outcome of all incidents, oldest first."""
        return [(str(incident.action), str(incident.outcome)) for incident in reversed(self.book.find())]
