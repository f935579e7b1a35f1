"""What the demo shows: a line per moment as it happens, then a short table. Colours only on a terminal."""

import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TextIO

_SPEAKER_WIDTH: Final = 16
_TIME_WIDTH: Final = 7
_MIN_WIDTH: Final = 60
_MAX_WIDTH: Final = 120


class Tone(Enum):
    """How a line is meant; the value is the ANSI colour."""

    PLAIN = ""
    GOOD = "\x1b[32m"
    BAD = "\x1b[31m"
    TITLE = "\x1b[1m"
    QUIET = "\x1b[2m"


_END: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the demo wanted to see."""

    wanted: str
    seen: str
    good: bool


class Screen:
    """Writes to *output*, flushing each line: whoever pipes it sees it as it happens too."""

    def __init__(
        self,
        output: TextIO,
        *,
        colours: bool,
        width: int = 100,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output: Final = output
        self._colours: Final = colours
        self._width: Final = min(max(width, _MIN_WIDTH), _MAX_WIDTH)
        self._monotonic: Final = monotonic
        self._started: Final = monotonic()

    def title(self, text: str) -> None:
        """Say what comes next."""
        self._write(f"\n{self._painted(text, Tone.TITLE)}")

    def say(self, speaker: str, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Tell what happened to whom, with the seconds since the start."""
        moment = f"{self._monotonic() - self._started:5.1f} s"
        indent = " " * (_TIME_WIDTH + 2 + _SPEAKER_WIDTH + 1)
        first = f"{moment:>{_TIME_WIDTH}}  {speaker:<{_SPEAKER_WIDTH}} "
        lines = [
            line
            for paragraph in text.splitlines()
            for line in textwrap.wrap(paragraph, self._width - len(indent)) or [""]
        ]
        for number, line in enumerate(lines):
            self._write((first if number == 0 else indent) + self._painted(line, tone))

    def table(self, checks: Sequence[Check]) -> None:
        """Sum up."""
        left = max(len(check.wanted) for check in checks)
        room = max(self._width - left - 10, 20)
        self._write("")
        for check in checks:
            mark = self._painted("yes", Tone.GOOD) if check.good else self._painted("NO ", Tone.BAD)
            first, *rest = textwrap.wrap(check.seen, room) or [""]
            self._write(f"  {mark}  {check.wanted:<{left}}  {first}")
            for line in rest:
                self._write(f"  {'':<3}  {'':<{left}}  {line}")

    def _painted(self, text: str, tone: Tone) -> str:
        return f"{tone.value}{text}{_END}" if self._colours and tone.value else text

    def _write(self, line: str) -> None:
        self._output.write(line.rstrip() + "\n")
        self._output.flush()


def screen_on(output: TextIO, environ: Mapping[str, str]) -> Screen:
    """Use colours on a terminal, unless NO_COLOR is set (no-color.org)."""
    terminal = output.isatty()
    return Screen(
        output,
        colours=terminal and not environ.get("NO_COLOR"),
        width=shutil.get_terminal_size((100, 24)).columns if terminal else 100,
    )
