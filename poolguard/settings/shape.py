"""Which keys the model has where: for suggestions, the schema and the reference."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from poolguard.settings.kinds import Bytes, Seconds
from poolguard.settings.model import Settings
from poolguard.settings.problems import Path

Kind: TypeAlias = Any
"""A type annotation, as `typing` hands it out."""

SECRETS = frozenset({"password", "admin_token", "secret", "url"})
"""Keys whose values are never shown. A URL may hold a password."""


class Leaf(NamedTuple):
    """One setting that holds a value. *path* has `*` for any name and any list position."""

    path: str
    kind: Kind
    nullable: bool
    default: object
    """MISSING when it must be given."""


@cache
def hints(model: type) -> dict[str, Kind]:
    """The annotated types of a dataclass's fields, in their order."""
    annotated = get_type_hints(model, include_extras=True)
    return {field.name: annotated[field.name] for field in fields(model)}


def bare(kind: Kind) -> tuple[Kind, bool]:
    """Strip `Annotated` and `| None` off *kind*; say whether it may be None. Seconds and Bytes stay whole."""
    nullable = False
    while True:
        origin = _origin(kind)
        if origin is Annotated:
            if _is(kind, Seconds):
                return Seconds, nullable
            if _is(kind, Bytes):
                return Bytes, nullable
            kind = get_args(kind)[0]
        elif origin in (Union, types.UnionType):
            (kind,) = [part for part in get_args(kind) if part is not type(None)]
            nullable = True
        else:
            return kind, nullable


def _origin(kind: Kind) -> Any:
    return get_origin(kind)


def _is(kind: Kind, unit: Kind) -> bool:
    # Annotated[Seconds, more] is flattened by typing: the unit is known by its first validator.
    return unit.__metadata__[0] in kind.__metadata__


def inside(kind: Kind, step: str | int) -> Kind | None:
    """The type of what *kind* holds under *step*; None when there is no such thing."""
    kind, _ = bare(kind)
    origin = _origin(kind)
    if origin is tuple and isinstance(step, int):
        return get_args(kind)[0]
    if origin is Mapping and isinstance(step, str):
        return get_args(kind)[1]
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(step, str):
        return hints(kind).get(step)
    return None


def kind_at(path: Path) -> Kind | None:
    """The type of the setting at *path*; None when there is none."""
    kind: Kind | None = Settings
    for step in path:
        kind = inside(kind, step) if kind is not None else None
    return kind


def keys_at(path: Path) -> list[str]:
    """The keys that may stand in the map at *path*; none where the operator chooses the names."""
    kind, _ = bare(kind_at(path))
    return list(hints(kind)) if isinstance(kind, type) and is_dataclass(kind) else []


def places_of(key: str) -> list[str]:
    """The paths of every setting or section that is called *key*."""
    return [path for path in _all_paths() if path.rpartition(".")[2] == key]


@cache
def _all_paths() -> tuple[str, ...]:
    found: dict[str, None] = {}
    for leaf in leaves():
        steps = leaf.path.split(".")
        for end in range(1, len(steps) + 1):
            found[".".join(steps[:end])] = None
    return tuple(path for path in found if not path.endswith("*"))


def leaves() -> Iterator[Leaf]:
    """Every setting that holds a value, in the order of the model."""
    yield from _leaves(Settings, "")


def _leaves(model: type, prefix: str) -> Iterator[Leaf]:
    for field in fields(model):
        kind, nullable = bare(hints(model)[field.name])
        path = prefix + field.name
        content = get_args(kind)
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _leaves(kind, path + ".")
        elif content and isinstance(item := content[_origin(kind) is Mapping], type) and is_dataclass(item):
            yield from _leaves(item, path + ".*.")
        else:
            yield Leaf(path, kind, nullable, _default(field))


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def kind_words(kind: Kind) -> str:
    """Say what to write for *kind*."""
    kind, _ = bare(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "one of " + ", ".join(member.value for member in kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return "a map of " + ", ".join(hints(kind))
    if _origin(kind) is Mapping:
        return "a map of names"
    if _origin(kind) is tuple:
        return "a list"
    words: dict[Kind, str] = {
        Seconds: "a duration, for example 30s",
        Bytes: "a size, for example 64KiB",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
    }
    return words[kind]
