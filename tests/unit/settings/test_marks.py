from typing import Annotated, Any

import pytest
from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError

from poolguard.settings.marks import After, Before, InJsonSchema, Pattern


def doubled(value: object) -> object:
    return int(value) * 2 if isinstance(value, str) else value


def even(value: int) -> int:
    if value % 2:
        raise ValueError("odd")
    return value


def errors(kind: Any, value: object) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    return [error["type"] for error in refused.value.errors()]


def test_before_makes_what_the_type_takes() -> None:
    assert TypeAdapter(Annotated[int, Before(doubled)]).validate_python("21") == 42


def test_bounds_count_for_what_before_made() -> None:
    kind = Annotated[int, Before(doubled), Interval(ge=0, le=10)]
    assert TypeAdapter[int](kind).validate_python("5") == 10
    assert errors(kind, "6") == ["less_than_equal"]


def test_bounds_of_a_kind_can_be_narrowed() -> None:
    kind = Annotated[Annotated[int, Before(doubled), Interval(ge=0, le=10)], Interval(le=4)]
    assert errors(kind, "3") == ["less_than_equal"]


def test_after_looks_at_the_value() -> None:
    assert TypeAdapter(Annotated[int, After(even)]).validate_python(4) == 4
    assert errors(Annotated[int, After(even)], 3) == ["value_error"]


def test_a_pattern_refuses_other_text_and_says_so_in_the_json_schema() -> None:
    kind = Annotated[str, Pattern("^a+$")]
    assert TypeAdapter(kind).validate_python("aa") == "aa"
    assert errors(kind, "ab") == ["string_pattern_mismatch"]
    assert TypeAdapter(kind).json_schema() == {"type": "string", "pattern": "^a+$"}


def test_a_kind_can_say_for_itself_what_the_json_schema_tells() -> None:
    told = {"type": "string", "examples": ["30s"]}
    kind = Annotated[int, Before(doubled), Interval(ge=0), InJsonSchema(told)]
    assert TypeAdapter(kind).json_schema() == told
