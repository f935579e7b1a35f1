import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.units import format_duration, parse_duration, parse_size

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("7d", 604800),
        ("0s", 0),
        ("1m1m", 120),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 s", "1S", "1w", "30s ", "1e3s", ".5s", "infs"])
def test_anything_else_is_no_duration_and_the_error_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 500ms, 30s, 5m or 1h30m"):
        parse_duration(text)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text) == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0349, "35ms"),
        (4.21, "4.2s"),
        (60, "1m"),
        (750, "12m30s"),
        (7500, "2h5m"),
        (7200, "2h"),
        (3599.9, "1h"),
    ],
)
def test_durations_are_said_briefly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 10**7))
def test_a_brief_duration_can_be_read_and_is_near(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.05, abs=0.0005)


@pytest.mark.parametrize(("text", "number"), [("1B", 1), ("64KiB", 65536), ("16 MiB", 16 * 1024**2), ("1GiB", 1024**3)])
def test_sizes_are_read(text: str, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "64", "64KB", "64kib", "-1B", "1.5MiB", "KiB", "1TiB"])
def test_anything_else_is_no_size_and_the_error_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 512B, 64KiB, 16MiB or 1GiB"):
        parse_size(text)
