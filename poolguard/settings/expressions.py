"""How much of a text a regular expression may look at, so that it never holds up the event loop. Pure.

Python's `re` backtracks: on some texts it tries each way in which the repeats of an expression can share the text
among them, from each place where it can begin. For n characters and k repeats of single characters those are about
n to the power of k + 1, divided by (k + 1)!; where repeats stand in repeats they are without bound. So the latter are
refused, and of the former the first characters are looked at for which the number stays in bounds.
"""

import re
from collections.abc import Callable, Iterator
from math import factorial
from typing import Final

MOST_CHARACTERS: Final = 4096
FEWEST_CHARACTERS: Final = 100
_STEPS: Final = 2_000_000
"""A few milliseconds' work."""

_TOKEN: Final = re.compile(
    r"""
      (?P<back>\\[1-9]|\(\?P=)
    | (?P<flags>\(\?[aiLmsux]+\))
    | (?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])
    | (?P<open>\((?:\?(?:P<\w+>|<?[=!]|[:>]|[aiLmsux-]*:))?)
    | (?P<close>\))
    | (?P<or>\|)
    | (?P<often>(?:[*+]|\{\d*,\d*\}|\{\d+\})[?+]?)
    | (?P<maybe>\?[?+]?)
    | (?P<char>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BEGINNINGS: Final = ("^", r"\A")
_FLAGS: Final = re.compile(r"\(\?[aiLsu]*\)")


def reach(expression: str) -> int:
    """How many characters of a text to search for *expression*; at most 4096.

    Raises ValueError for one that is no regular expression, or that no useful number of characters would bound.
    """
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is no regular expression: {error}") from None
    repeats, ways = _ways(expression)
    places = 0 if _is_anchored(expression) else 1
    power = repeats + places
    bound = _STEPS * factorial(power) / ways
    size = MOST_CHARACTERS if bound >= MOST_CHARACTERS**power else int(bound ** (1 / power)) if power else 0
    if size < FEWEST_CHARACTERS:
        raise ValueError(f"{expression!r} could take too long on some texts: give it fewer of *, + and {{}}")
    return size


def search_for(expression: str) -> Callable[[str], bool]:
    """What says whether *expression* is found in the part of a text that it may look at. Raises ValueError."""
    size = reach(expression)
    search = re.compile(expression).search
    return lambda text: search(text, 0, size) is not None


def _ways(expression: str) -> tuple[int, int]:
    """How many repeats can share a text among them, and in how many ways the rest can be read."""
    last, opened = "", [(0, 0, 0, 1)]
    """Of each group that is open: repeats and ways of the alternatives before, and of this one."""
    for kind, text in _tokens(expression):
        most, sum_of_ways, repeats, ways = opened.pop()
        match kind:
            case "open":
                opened += [(most, sum_of_ways, repeats, ways), (0, 0, 0, 1)]
            case "close":
                outer_most, outer_sum, outer_repeats, outer_ways = opened.pop()
                inner = (outer_repeats + max(most, repeats), outer_ways * (sum_of_ways + ways))
                opened.append((outer_most, outer_sum, *inner))
            case "or":
                opened.append((max(most, repeats), sum_of_ways + ways, 0, 1))
            case "often" if last == "close":
                raise ValueError(f"{expression!r} repeats a group, which could take very long on some texts")
            case "often":
                opened.append((most, sum_of_ways, repeats + (not text[1:].rstrip("}?+").isdigit()), ways))
            case "maybe":
                opened.append((most, sum_of_ways, repeats, ways * 2))
            case "back":
                raise ValueError(f"{expression!r} refers back to a group, which could take very long on some texts")
            case "flags" if not _FLAGS.fullmatch(text):
                raise ValueError(f"{expression!r} has flags: of those only a, i, s and u can be used here")
            case _:
                opened.append((most, sum_of_ways, repeats, ways))
        last = kind
    most, sum_of_ways, repeats, ways = opened.pop()
    return max(most, repeats), sum_of_ways + ways


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expression):
        yield match.lastgroup or "", match[0]


def _is_anchored(expression: str) -> bool:
    """Whether it can begin at the beginning of a text only: each alternative that is in no group says so."""
    depth, begins = 0, True
    for kind, text in _tokens(expression):
        if begins and kind != "flags":
            if text not in _BEGINNINGS:
                return False
            begins = False
        depth += (kind == "open") - (kind == "close")
        begins = begins or (kind == "or" and depth == 0)
    return not begins
