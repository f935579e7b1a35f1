"""The model of policies: ladders, exemptions, budgets, and the three policies that are there by default. Pure."""

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from poolguard.settings.kinds import FORBID, Seconds


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
class Exempt:
    """Whom the guard leaves alone: globs of application_name, or a marker in a comment of the statement."""

    __pydantic_config__: ClassVar = FORBID
    application_name: tuple[str, ...] = ("pg_dump*", "pg_restore*")
    comment: str | None = "poolguard:ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be ended before the guard stops and calls for a person."""

    __pydantic_config__: ClassVar = FORBID
    kills_per_minute: Annotated[int, Field(ge=0)] = 30
    max_share_of_pool: Annotated[float, Field(gt=0, le=1)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about transactions of the pools that name it."""

    __pydantic_config__: ClassVar = FORBID
    mode: PolicyMode = PolicyMode.ENFORCE
    idle_in_transaction: Ladder | None = None
    transaction_age: Ladder | None = None
    statement_age: Ladder | None = None
    checkout_age: Ladder | None = None
    exempt: Exempt = field(default_factory=Exempt)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        # An idle backend has nothing to cancel, a running statement can't be rolled back from outside:
        # PostgreSQL docs, 55.2.8 (Canceling Requests in Progress).
        if self.idle_in_transaction is not None and self.idle_in_transaction.cancel is not None:
            raise ValueError("idle_in_transaction has no cancel: nothing runs; use rollback or terminate")
        if self.statement_age is not None and self.statement_age.rollback is not None:
            raise ValueError("statement_age has no rollback: a statement runs; use cancel or terminate")


def default_policies() -> dict[str, Policy]:
    """The three policies that exist unless the file gives others of the same name."""
    return {
        # Below River's own deadline of 5 s, so that its next attempt finds a server.
        "election": Policy(
            idle_in_transaction=Ladder(warn=1.0, rollback=3.0, terminate=30.0),
            transaction_age=Ladder(cancel=4.0),
            checkout_age=Ladder(warn=60.0),
        ),
        "jobs": Policy(
            idle_in_transaction=Ladder(warn=30.0, rollback=120.0, terminate=600.0),
            transaction_age=Ladder(warn=900.0),
            checkout_age=Ladder(warn=1800.0),
        ),
        "app": Policy(
            idle_in_transaction=Ladder(warn=10.0, rollback=60.0, terminate=300.0),
            transaction_age=Ladder(warn=300.0),
            statement_age=Ladder(warn=60.0),
            checkout_age=Ladder(warn=600.0),
        ),
    }
