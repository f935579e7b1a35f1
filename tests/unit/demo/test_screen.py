"""Lines say when and who; colours are for terminals only."""

import io

import pytest

from poolguard.demo.screen import Check, Screen, Tone, screen_on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(output: io.StringIO, *, colours: bool = False, width: int = 60) -> Screen:
    moments = iter([100.0, 102.25, 103.0])
    return Screen(output, colours=colours, width=width, monotonic=lambda: next(moments))


def test_a_line_has_its_moment_and_its_speaker() -> None:
    output = io.StringIO()
    screen(output).say("guard", "rolled back")
    assert output.getvalue() == "  2.2 s  guard            rolled back\n"


def test_long_text_and_line_feeds_are_laid_out_under_the_first_line() -> None:
    output = io.StringIO()
    screen(output).say("app", "first\n" + "word " * 20)
    lines = output.getvalue().splitlines()
    assert lines[0].endswith("app              first")
    assert all(line.startswith(" " * 26 + "word") for line in lines[1:])
    assert len(lines) == 4
    assert max(map(len, lines)) <= 60


def test_the_table_says_yes_and_no_and_wraps_what_was_seen() -> None:
    output = io.StringIO()
    screen(output).table([Check("short", "fine", good=True), Check("much longer", "bad " * 12, good=False)])
    lines = output.getvalue().splitlines()
    assert lines[1] == "  yes  short        fine"
    assert lines[2].startswith("  NO   much longer  bad bad")
    assert lines[3].startswith(" " * 20 + "bad")


@pytest.mark.parametrize(
    ("output", "environ", "coloured"),
    [(Terminal(), {}, True), (Terminal(), {"NO_COLOR": "1"}, False), (io.StringIO(), {}, False)],
)
def test_colours_are_for_a_terminal_that_wants_them(
    output: io.StringIO, environ: dict[str, str], coloured: bool
) -> None:
    screen_on(output, environ).say("guard", "done", Tone.GOOD)
    assert ("\x1b[" in output.getvalue()) is coloured
    assert "done" in output.getvalue()
