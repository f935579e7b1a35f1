"""A problem with the settings: where it stands, what is wrong, what to write instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, TypeAlias

from poolguard.core.errors import SettingsError

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the root of the document to a value."""

MOST_SHOWN: Final = 100
"""Problems beyond this many are counted, not listed: nobody mends more in one go."""

_LEAST_PART: Final = 3
"""Fewer letters are in too many names to tell which was meant."""


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. *text* never holds the value of a secret."""

    path: Path
    text: str
    place: Place | None = None

    def line(self, file_name: str) -> str:
        """`FILE:LINE:COLUMN: path: text`, as compilers write it, so that editors can jump there."""
        where = f"{file_name}:{self.place.line}:{self.place.column}" if self.place else file_name
        return f"{where}: {path_text(self.path)}: {self.text}" if self.path else f"{where}: {self.text}"


class SettingsProblems(SettingsError):
    """The settings can't be used. The message holds every problem, a line each, in the order of the file."""

    def __init__(self, file_name: str, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems), key=lambda problem: (problem.place or Place(0, 0), str(problem.path)))
        lines = [problem.line(file_name) for problem in ordered[:MOST_SHOWN]]
        if len(ordered) > MOST_SHOWN:
            lines.append(f"{file_name}: and {len(ordered) - MOST_SHOWN} more")
        super().__init__("\n".join(lines))
        self.file_name = file_name
        self.problems = tuple(ordered)

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[Problem, ...]]]:
        # They come from the process that reads the settings (`apart`).
        return type(self), (self.file_name, self.problems)


def path_text(path: Path) -> str:
    """Write *path* as people do: `pools.app.size`, `routes[0].pool`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Which of *known* was probably meant by *word*; None when none is near."""
    plain = {_plain(name): name for name in known}
    if _plain(word) in plain:
        return plain[_plain(word)]
    # Here, because a poolguard that runs knows of no problems.
    from difflib import get_close_matches

    if found := get_close_matches(_plain(word), plain, n=1, cutoff=0.6):
        return plain[found[0]]
    around = [name for flat, name in plain.items() if len(word) >= _LEAST_PART and _plain(word) in flat]
    return around[0] if len(around) == 1 else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Suggest the nearest of *known*, or list them all."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"write one of {', '.join(known)}"
