"""Durations and sizes carry their unit; a bare number is refused, not guessed."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from poolguard.settings.kinds import Bytes, Name, Port, Seconds


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Seconds, "1h30m", 5400.0),
        (Seconds, "500ms", 0.5),
        (Bytes, "64KiB", 65536),
        (Port, "0", 0),
        (Name, "a-1", "a-1"),
    ],
)
def test_text_is_read(kind: Any, text: str, value: object) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(("kind", "value"), [(Seconds, 30), (Bytes, 64), (Port, 65536), (Name, "1a"), (Seconds, "-1s")])
def test_what_has_no_unit_or_is_out_of_range_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
