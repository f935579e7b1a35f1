"""What a long text leaves behind. It is not read word by word, which would hold up the loop, but searched.

The work is bounded whatever the text is: the beginning is read, and behind it each `;` is looked at, up to a number.
What can't be seen within the bounds counts as leaving everything behind.
"""

import re
from typing import Final

from poolguard.wire.meaning import ALL_PARAMETERS, NOTHING, Pin, Traces, traces
from poolguard.wire.tokens import statements

READ_LIMIT: Final = 4 * 1024
"""Bytes of a text that are read word by word."""

_SEMICOLONS: Final = 30_000
_LOOKS: Final = 25
"""How many statements are read that may leave something, and how many places where a temporary table may be made."""
_LOOK_BYTES: Final = 400
_GAP_BYTES: Final = 16 * 1024
"""Bytes of comments in front of one statement; of all together, ten times as many."""
_COMMENT_COSTS: Final = 100
"""What a comment counts that is short, in bytes."""

_GAP: Final = re.compile(rb"(?:\s++|--[^\n\r]*+|/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/)*+")
"""Comments in comments are not read: they count as tangled."""
_HEADS: Final = rb"(?:set|reset|discard|deallocate|listen|load|prepare|declare|do)\b"
_STATE: Final = re.compile(_HEADS)
_NEXT: Final = re.compile(rb";\s*+(" + _HEADS + rb"|(?P<comment>/\*|--))")
_MAKES: Final = re.compile(rb"\b(?:create|replace|into)\s+(?:(?:local|global)\s+)?$")
_IN_CALLS: Final = (
    (b"advisory_lock", Pin.ADVISORY_LOCK),
    (b"set_config", Pin.CONFIG),
    (b"currval", Pin.SEQUENCE),
    (b"lastval", Pin.SEQUENCE),
    (b"setseed", Pin.SEED),
    (b"pg_temp", Pin.TEMPORARY),
    (b'u&"', Pin.UNREAD),
)
UNREAD: Final = Traces(frozenset((Pin.UNREAD,)), resets=frozenset((ALL_PARAMETERS,)), forgets=True, strays=True)


def search(sql: bytes) -> list[Traces]:
    """The traces of what is found in *sql*, perhaps in vain: what stands in a literal is taken for a statement, too."""
    low = b";" + sql.lower()
    beginning = sql[:READ_LIMIT]
    found = [left for words in statements(beginning) if (left := traces(words, beginning)) is not NOTHING]
    pins = frozenset(pin for needle, pin in _IN_CALLS if low.find(needle) >= 0)
    found.append(Traces(pins, strays=bool(pins)))
    # From the last statement on that the beginning may have cut off.
    found += _statements_behind(low, low.rfind(b";", 0, READ_LIMIT + 1))
    found.append(_temporary(low))
    return found


def _statements_behind(low: bytes, start: int) -> list[Traces]:
    """*low* begins with a `;`."""
    if low.count(b";", start) > _SEMICOLONS:
        return [UNREAD]
    found: list[Traces] = []
    at, consumed = start, 0
    while match := _NEXT.search(low, at):
        at = match.start(1)
        if match["comment"]:
            gap = _GAP.match(low, at, at + _GAP_BYTES)
            end = gap.end() if gap is not None else at
            consumed += end - at + _COMMENT_COSTS
            if end - at >= _GAP_BYTES or consumed > 10 * _GAP_BYTES or low.startswith(b"/*", end):
                return [UNREAD]
            at = end
            if not _STATE.match(low, at):
                continue
        if len(found) >= _LOOKS:
            return [UNREAD]
        found += _look(low[at : at + _LOOK_BYTES])
    return found


def _look(low: bytes) -> list[Traces]:
    """The traces of the statement with which *low* begins, of which not all may be here."""
    if low.startswith((b"declare", b"do")):
        return [Traces(frozenset((Pin.HOLD if low.startswith(b"declare") else Pin.UNREAD,)), strays=True)]
    return [traces(words, low) for words in statements(low)[:1]]


def _temporary(low: bytes) -> Traces:
    at, looks = low.find(b"temp"), 0
    while at >= 0:
        looks += 1
        before = low[max(0, at - 64) : at]
        # A comment in between could be of any length.
        if _MAKES.search(before) or before.rstrip().endswith(b"*/") or b"--" in before or looks > _LOOKS:
            return Traces(frozenset((Pin.TEMPORARY,)))
        at = low.find(b"temp", at + 4)
    return Traces()
