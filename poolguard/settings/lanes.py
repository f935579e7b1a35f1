"""The model of lanes: how many transactions that begin with a statement may be under way at once. Pure."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from annotated_types import Interval, MaxLen

from poolguard.settings.kinds import FORBID, Expression, Name, Seconds
from poolguard.settings.matching import Fingerprints
from poolguard.settings.policies import PolicyMode

MOST_LANES: Final = 20
"""Of one pool: a text that is new is compared with each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneMatch:
    """Which statements a lane is for, by the same keys as a rule's `when`. Keys are ANDed, at least one."""

    __pydantic_config__: ClassVar = FORBID
    fingerprint: Fingerprints = ()
    statement: Expression | None = None

    def __post_init__(self) -> None:
        if not self.fingerprint and self.statement is None:
            raise ValueError("match is empty, so everything would queue here: give fingerprint or statement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A bound on transactions of one kind, by the statement that they begin with."""

    __pydantic_config__: ClassVar = FORBID
    name: Name
    match: LaneMatch
    at_once: Annotated[int, Interval(ge=1, le=10_000)] = 5
    max_waiting: Annotated[int, Interval(ge=0, le=1000)] = 20
    wait: Seconds = 10.0
    mode: PolicyMode = PolicyMode.ENFORCE


Lanes = Annotated[tuple[Lane, ...], MaxLen(MOST_LANES)]


def check_lanes(lanes: tuple[Lane, ...], *, one_transaction: bool) -> None:
    """Raise ValueError unless every lane has its own name and the pool lends servers for *one_transaction* each."""
    names = [lane.name for lane in lanes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"lanes: {name} is the name of two lanes; each needs its own")
    if lanes and not one_transaction:
        raise ValueError(
            "lanes need mode transaction: in mode session a client would wait in a lane while it keeps its server, "
            "and whatever locks it has there"
        )
