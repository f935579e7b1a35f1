"""Durations and sizes as people write them: `500ms`, `30s`, `5m`, `1h30m`; `64KiB`."""

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE: Final = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)")


def parse_duration(text: str) -> float:
    """Seconds in *text*. Raises ValueError that says what to write."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write for example 500ms, 30s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Say *seconds* briefly, for people: `35ms`, `4.2s`, `12m30s`, `2h5m`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if minutes else f"{hours}h"


def parse_size(text: str) -> int:
    """Bytes in *text*. Raises ValueError that says what to write."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write for example 512B, 64KiB, 16MiB or 1GiB")
    return int(match[1]) * _BYTES[match[2]]
