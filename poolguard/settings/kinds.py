"""What settings are made of: durations, sizes, ports, names. Pure."""

from typing import Annotated, Final

from annotated_types import Ge, Interval

from poolguard.core.units import parse_duration, parse_size
from poolguard.settings.expressions import reach
from poolguard.settings.marks import After, Before, InJsonSchema, Pattern


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else _no_number(value, "30s")


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else _no_number(value, "64KiB")


def _no_number(value: object, example: str) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write for example {example}")  # noqa: TRY004 - pydantic wants it
    return value


Seconds = Annotated[
    float,
    Before(_seconds),
    Interval(ge=0, le=366 * 86400),
    InJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s"]}),
]
Bytes = Annotated[
    int,
    Before(_bytes),
    Ge(1),
    InJsonSchema({"type": "string", "pattern": r"^\d+\s*(B|KiB|MiB|GiB)$", "examples": ["64KiB"]}),
]


def _expression(value: str) -> str:
    reach(value)
    return value


Expression = Annotated[str, After(_expression)]
"""A regular expression as Python reads them (`re`), which no text makes take long."""

Port = Annotated[int, Interval(ge=0, le=65535)]
"""0 means: any free port (tests, demo)."""

Name = Annotated[str, Pattern(r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
LeaseName = Annotated[str, Pattern(r"^[A-Za-z0-9._:/-]{1,128}$")]
"""What the lease API takes, but for endings that mean something else in its paths."""

FORBID: Final = {"extra": "forbid"}
