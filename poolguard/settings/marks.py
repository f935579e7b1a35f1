"""What an annotation says of a value beyond its type, besides the bounds of `annotated_types`. Pure.

pydantic asks these marks what they mean when it builds its schema (`__get_pydantic_core_schema__`), so whoever only
holds settings needs no pydantic: it takes 10 MiB, and a process that runs for months reads its settings once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]
"""As `pydantic_core.core_schema` describes it, or a JSON Schema."""

Rest: TypeAlias = Callable[[Any], Any]
"""What gives the schema of everything that stands left of a mark."""


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """Make of what was written what the type takes. *change* raises ValueError."""

    change: Callable[[object], object]

    def __get_pydantic_core_schema__(self, source: object, rest: Rest) -> Schema:
        return _function("function-before", self.change, rest(source))


@dataclass(frozen=True, slots=True, eq=False)
class After:
    """Look at the value that the type took. *check* gives it back, or raises ValueError."""

    check: Callable[[Any], object]

    def __get_pydantic_core_schema__(self, source: object, rest: Rest) -> Schema:
        return _function("function-after", self.check, rest(source))


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Take only text that has a match of *expression*."""

    expression: str

    def __get_pydantic_core_schema__(self, source: object, rest: Rest) -> Schema:
        return {**rest(source), "pattern": self.expression}


@dataclass(frozen=True, slots=True, eq=False)
class InJsonSchema:
    """How the JSON Schema describes the value."""

    schema: Mapping[str, object]

    def __get_pydantic_json_schema__(self, source: object, rest: Rest) -> Schema:
        return dict(self.schema)


def _function(kind: str, function: Callable[[Any], object], schema: object) -> Schema:
    return {"type": kind, "function": {"type": "no-info", "function": function}, "schema": schema}
