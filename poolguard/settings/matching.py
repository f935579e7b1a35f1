"""What a rule of the long form looks at: `when`, with its comparisons. Pure.

A comparison is text such as `>=2`; without a sign it means at least. Keys of one `when` are ANDed, entries of a list
are ORed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, ClassVar, Final, NamedTuple

from annotated_types import MaxLen

from poolguard.core.units import parse_duration
from poolguard.settings.kinds import FORBID, Expression
from poolguard.settings.marks import After, Before, InJsonSchema
from poolguard.wire.classes import StatementClass

MOST_ENTRIES: Final = 100
"""Longest list in a rule: each sweep may look at all of it."""

_COMPARISON: Final = re.compile(r"(>=|<=|>|<)?\s*(\S+)")
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")


class Comparison(NamedTuple):
    """A sign and what to compare with: seconds, a share or a number."""

    sign: str
    value: float

    def holds(self, actual: float) -> bool:
        """Compare *actual*."""
        match self.sign:
            case ">=":
                return actual >= self.value
            case ">":
                return actual > self.value
            case "<=":
                return actual <= self.value
            case _:
                return actual < self.value

    @property
    def is_floor(self) -> bool:
        """Whether what only grows will hold it for ever once it does."""
        return self.sign in {">=", ">"}


def age(text: str) -> Comparison:
    """Read `>=10s`. Raises ValueError."""
    return _read(text, parse_duration, ">=10s")


def number(text: str) -> Comparison:
    """Read `>=2` or `>=0.9`. Raises ValueError."""
    return _read(text, _plain_number, ">=2")


def _read(text: str, value_of: Callable[[str], float], example: str) -> Comparison:
    match = _COMPARISON.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no comparison: write for example {example}")
    return Comparison(match[1] or ">=", value_of(match[2]))


def _plain_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number: write for example >=2")
    return float(text)


def _share(text: str) -> Comparison:
    found = _read(text, _plain_number, ">=0.9")
    if found.value > 1:
        raise ValueError(f"{text!r} is above 1, and never holds: it is a share, write for example >=0.9")
    return found


def _checked(read: Callable[[str], object]) -> After:
    def check(text: str) -> str:
        read(text)
        return text

    return After(check)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_or_more(item: Mapping[str, object]) -> InJsonSchema:
    return InJsonSchema({"anyOf": [item, {"type": "array", "items": item, "maxItems": MOST_ENTRIES}]})


def _network(text: str) -> None:
    if text != "unix":
        ip_network(text)


def _hex(text: str) -> None:
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError(f"{text!r} is no fingerprint: it has 16 hexadecimal digits, as incidents show it")


def _each(check: Callable[[str], None]) -> After:
    def every(values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check(value)
        return values

    return After(every)


_AGE_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^(>=|<=|>|<)?\s*(\d+(\.\d+)?(ms|s|m|h|d))+$",
    "examples": [">=10s"],
}
_NUMBER_SCHEMA: Final = {"type": ["string", "number"], "examples": [">=2"]}
_TEXT: Final[Mapping[str, object]] = {"type": "string"}

Age = Annotated[str, _checked(age), InJsonSchema(_AGE_SCHEMA)]
Number = Annotated[str, Before(lambda value: str(value)), _checked(number), InJsonSchema(_NUMBER_SCHEMA)]
Share = Annotated[str, Before(lambda value: str(value)), _checked(_share), InJsonSchema(_NUMBER_SCHEMA)]
Texts = Annotated[tuple[str, ...], Before(_listed), MaxLen(MOST_ENTRIES), _one_or_more(_TEXT)]
Networks = Annotated[tuple[str, ...], Before(_listed), MaxLen(MOST_ENTRIES), _each(_network), _one_or_more(_TEXT)]
Fingerprints = Annotated[tuple[str, ...], Before(_listed), MaxLen(MOST_ENTRIES), _each(_hex), _one_or_more(_TEXT)]


class RuleState(StrEnum):
    """Where a transaction can stand, by the names that the API has."""

    ACTIVE = "active"
    IDLE_IN_TRANSACTION = "idle_in_transaction"
    FAILED_TRANSACTION = "failed_transaction"
    PINNED = "pinned"


class Isolation(StrEnum):
    """As PostgreSQL names its levels."""

    READ_UNCOMMITTED = "read uncommitted"
    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


def _enum_schema(members: type[StrEnum]) -> InJsonSchema:
    return _one_or_more({"type": "string", "enum": [member.value for member in members]})


States = Annotated[tuple[RuleState, ...], Before(_listed), _enum_schema(RuleState)]
Isolations = Annotated[tuple[Isolation, ...], Before(_listed), _enum_schema(Isolation)]
Classes = Annotated[tuple[StatementClass, ...], Before(_listed), _enum_schema(StatementClass)]


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """What must hold, all of it, for a rule to match a transaction. At least one key."""

    __pydantic_config__: ClassVar = FORBID
    pool: Texts = ()
    user: Texts = ()
    database: Texts = ()
    application_name: Texts = ()
    client_address: Networks = ()
    state: States = ()
    idle_for: Age | None = None
    transaction_age: Age | None = None
    statement_age: Age | None = None
    checkout_age: Age | None = None
    statements: Number | None = None
    blocking: Number | None = None
    blocking_for: Age | None = None
    pool_utilisation: Share | None = None
    waiters: Number | None = None
    oldest_wait: Age | None = None
    wrote: bool | None = None
    savepoint: bool | None = None
    isolation: Isolations = ()
    statement_class: Classes = ()
    fingerprint: Fingerprints = ()
    statement: Expression | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.keys():
            raise ValueError("when is empty, so the rule would match everything: name at least one key")

    def keys(self) -> list[str]:
        """The keys that are given."""
        return [key.name for key in fields(self) if getattr(self, key.name) not in (None, (), {})]
