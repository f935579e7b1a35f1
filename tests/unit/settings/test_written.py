import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.units import parse_duration, parse_size
from poolguard.settings.kinds import Seconds
from poolguard.settings.model import LogLevel, Settings
from poolguard.settings.written import duration, plain_value, size, written


@given(st.integers(0, 366 * 86400 * 1000))
def test_a_written_duration_reads_as_the_same(milliseconds: int) -> None:
    assert round(parse_duration(duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.integers(1, 2**50))
def test_a_written_size_reads_as_the_same(number: int) -> None:
    assert parse_size(size(number)) == number


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Seconds, 90.0, "1m30s"),
        (Seconds, 0.0, "0s"),
        (bool, True, "true"),
        (str, "", '""'),
        (str, None, "null"),
        (float, 0.5, "0.5"),
        (int, 5, "5"),
        (LogLevel, LogLevel.INFO, "info"),
        (tuple[str, ...], ("a*", "b"), '["a*", "b"]'),
    ],
)
def test_single_values_are_written_as_in_a_file(kind: object, value: object, text: str) -> None:
    assert written(kind, value) == text


def test_whole_settings_become_plain_data() -> None:
    plain = plain_value(Settings, Settings())
    assert isinstance(plain, dict)
    assert plain["pools"]["app"]["wait_timeout"] == "10s"
    assert plain["limits"]["buffer_bytes"] == "256KiB"
    assert plain["policies"]["app"]["exempt"]["application_name"] == ["pg_dump*", "pg_restore*"]
