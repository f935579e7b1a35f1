"""Values as they would be written in a settings file. Reading one gives the value back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Final

from poolguard.settings.kinds import Bytes, Seconds
from poolguard.settings.shape import Kind, bare, inside

_SECONDS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_BYTES: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1))


def duration(seconds: float) -> str:
    """`90.0` as `1m30s`, exact to the millisecond."""
    rest, text = round(seconds * 1000), ""
    for unit, size in _SECONDS:
        number, rest = divmod(rest, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def size(number: int) -> str:
    """`65536` as `64KiB`, exact."""
    unit, each = next((unit, each) for unit, each in _BYTES if number % each == 0)
    return f"{number // each}{unit}"


def written(kind: Kind, value: object) -> str:
    """Write the single *value* of *kind*: `30s`, `64KiB`, `true`, `null`; empty text as two double quotes."""
    plain = plain_value(kind, value)
    match plain:
        case None:
            return "null"
        case bool():
            return "true" if plain else "false"
        case "":
            return '""'
        case float():
            return f"{plain:g}"
        case list():
            return "[" + ", ".join(f'"{item}"' for item in plain) + "]"
        case _:
            return str(plain)


def plain_value(kind: Kind, value: object) -> object:
    """*value* as plain data (maps, lists, text, numbers), with durations and sizes as text."""
    kind, _ = bare(kind)
    if value is None:
        return None
    if kind is Seconds and isinstance(value, int | float):
        return duration(value)
    if kind is Bytes and isinstance(value, int):
        return size(value)
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        return {
            field.name: plain_value(inside(kind, field.name), getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, Mapping):
        return {name: plain_value(inside(kind, name), item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_value(inside(kind, index), item) for index, item in enumerate(value)]
    return value
