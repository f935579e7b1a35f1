"""The model of policies: ladders, exemptions, budgets, and the three policies that are there by default. Pure."""

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from annotated_types import Ge, Interval, Le, MaxLen

from poolguard.settings.kinds import FORBID, Name, Seconds
from poolguard.settings.matching import MOST_ENTRIES, RuleState, Texts, When
from poolguard.wire.classes import StatementClass

Pause = Annotated[Seconds, Le(60)]
"""How long the guard may be told to wait after an action: what it did is remembered for a minute."""

LADDERS: Final = ("idle_in_transaction", "idle_blocker", "transaction_age", "statement_age", "checkout_age")
"""The short form: keys of a policy that hold a ladder. Incidents and metrics name them as rules."""


_AGED: Final = tuple(name for name in LADDERS if name != "idle_blocker")
"""Ladders whose steps are ages of what every transaction goes through."""


class PolicyMode(StrEnum):
    """Whether verdicts are carried out, or only counted and logged as would-have."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Ages at which each step of the ladder is taken, mildest first."""

    __pydantic_config__: ClassVar = FORBID
    warn: Seconds | None = None
    cancel: Seconds | None = None
    rollback: Seconds | None = None
    terminate: Seconds | None = None

    def __post_init__(self) -> None:
        steps = [(name, getattr(self, name)) for name in ("warn", "cancel", "rollback", "terminate")]
        given = [(name, at) for name, at in steps if at is not None]
        if not given:
            raise ValueError("no step given: write warn, cancel, rollback or terminate with a duration")
        for (milder, earlier), (harsher, later) in itertools.pairwise(given):
            if earlier > later:
                raise ValueError(f"{milder} comes after {harsher}: a milder step must not come later")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleBlocker(Ladder):
    """A ladder for transactions that stand idle while others wait for their locks."""

    __pydantic_config__: ClassVar = FORBID
    blocking: Annotated[int, Ge(1)] = 1


class Protected(StrEnum):
    """Kinds of work that the guard doesn't end unless a rule names them."""

    DDL = StatementClass.DDL.value
    VACUUM = StatementClass.VACUUM.value
    CONCURRENTLY = StatementClass.CONCURRENTLY.value
    COPY = StatementClass.COPY.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """Whom the guard leaves alone, and which work it never ends."""

    __pydantic_config__: ClassVar = FORBID
    application_name: Texts = ("pg_dump*", "pg_restore*")
    user: Texts = ()
    comment: str | None = "poolguard:ignore"
    statement_class: tuple[Protected, ...] = tuple(Protected)
    zero_timeouts: bool = True
    job_pop: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be ended before the guard stops and calls for a person."""

    __pydantic_config__: ClassVar = FORBID
    kills_per_minute: Annotated[int, Ge(0)] = 30
    max_share_of_pool: Annotated[float, Interval(gt=0, le=1)] = 0.5
    cooldown: Pause = 0.0


class Victims(StrEnum):
    """Which of the transactions that match a rule in one pass of the guard it is about."""

    ALL = "all"
    OLDEST = "oldest"
    MOST_BLOCKING = "most_blocking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the long form: the steps of `then` are taken when all of `when` has held for so long."""

    __pydantic_config__: ClassVar = FORBID
    name: Name
    when: When
    then: Ladder
    mode: PolicyMode | None = None
    victims: Victims = Victims.ALL
    wait_after: Pause = 0.0
    exempt: Exempt | None = None

    def __post_init__(self) -> None:
        states = set(self.when.state)
        if self.then.cancel is not None and states and RuleState.ACTIVE not in states:
            raise ValueError("then.cancel ends a running statement, and none runs unless when.state is active")
        if self.then.rollback is not None and states and not states & _ROLLED_BACK:
            raise ValueError(
                "then.rollback needs a transaction that stands idle: when.state idle_in_transaction or "
                "failed_transaction"
            )


_ROLLED_BACK = {RuleState.IDLE_IN_TRANSACTION, RuleState.FAILED_TRANSACTION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about transactions of the pools that name it."""

    __pydantic_config__: ClassVar = FORBID
    mode: PolicyMode = PolicyMode.ENFORCE
    idle_in_transaction: Ladder | None = None
    idle_blocker: IdleBlocker | None = None
    transaction_age: Ladder | None = None
    statement_age: Ladder | None = None
    checkout_age: Ladder | None = None
    rules: Annotated[tuple[Rule, ...], MaxLen(MOST_ENTRIES)] = ()
    exempt: Exempt = field(default_factory=Exempt)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        # An idle backend has nothing to cancel, a running statement can't be rolled back from outside:
        # PostgreSQL docs, 55.2.8 (Canceling Requests in Progress).
        for name in ("idle_in_transaction", "idle_blocker"):
            ladder: Ladder | None = getattr(self, name)
            if ladder is not None and ladder.cancel is not None:
                raise ValueError(f"{name} has no cancel: nothing runs; use rollback or terminate")
        for name in _AGED:
            for step in ("cancel", "rollback", "terminate"):
                if getattr(getattr(self, name), step, None) == 0:
                    raise ValueError(
                        f"{name}.{step} is 0s, which would end everything at once (it is not off, as in PostgreSQL's "
                        "timeouts): leave the step out, or write null"
                    )
        if self.statement_age is not None and self.statement_age.rollback is not None:
            raise ValueError("statement_age has no rollback: a statement runs; use cancel or terminate")
        names = [rule.name for rule in self.rules]
        for name in names:
            if name in LADDERS:
                raise ValueError(f"rules: {name} is the name of a ladder; give the rule another")
            if names.count(name) > 1:
                raise ValueError(f"rules: {name} is the name of two rules; each needs its own")


def default_policies() -> dict[str, Policy]:
    """The three policies that exist unless the file gives others of the same name."""
    return {
        # Below River's own deadline of 5 s, so that its next attempt finds a server.
        "election": Policy(
            idle_in_transaction=Ladder(warn=1.0, rollback=3.0, terminate=30.0),
            idle_blocker=IdleBlocker(rollback=1.0),
            transaction_age=Ladder(cancel=4.0),
            checkout_age=Ladder(warn=60.0),
        ),
        "jobs": Policy(
            idle_in_transaction=Ladder(warn=30.0, rollback=120.0, terminate=600.0),
            idle_blocker=IdleBlocker(rollback=10.0),
            transaction_age=Ladder(warn=900.0),
            checkout_age=Ladder(warn=1800.0),
        ),
        "app": Policy(
            idle_in_transaction=Ladder(warn=10.0, rollback=60.0, terminate=300.0),
            idle_blocker=IdleBlocker(rollback=10.0),
            transaction_age=Ladder(warn=300.0),
            statement_age=Ladder(warn=60.0),
            checkout_age=Ladder(warn=600.0),
        ),
    }
