"""What a statement means to a pooler, read off its text: BEGIN and its like, and what must not be lost with a server.

A verdict errs to the safe side: a text that might leave something behind in the server's session pins it. Texts
are read by tokens, so neither a comment, nor a literal, nor a second statement hides anything.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final


class Kind(StrEnum):
    """The single statements that poolguard itself must understand. Everything else is OTHER."""

    OTHER = "other"
    BEGIN = "begin"
    """One that can't fail, so that it may be answered before PostgreSQL has seen it."""
    COMMIT = "commit"
    PREPARE_TRANSACTION = "prepare transaction"
    ROLLBACK = "rollback"
    DISCARD_ALL = "discard all"
    RESET_ALL = "reset all"
    DEALLOCATE = "deallocate"
    DEALLOCATE_ALL = "deallocate all"


class Pin(StrEnum):
    """Why a server must stay with its session after the transaction."""

    NONE = ""
    SET = "SET of a parameter that PostgreSQL does not report"
    LISTEN = "LISTEN"
    ADVISORY_LOCK = "session advisory lock"
    TEMPORARY = "temporary table"
    HOLD = "cursor WITH HOLD"
    PREPARE = "PREPARE in SQL"
    PROTOCOL_PREPARE = "named prepared statement"
    LOAD = "LOAD"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one text means. *name* is what DEALLOCATE names, folded as PostgreSQL folds it; `start` if START begins."""

    kind: Kind = Kind.OTHER
    pin: Pin = Pin.NONE
    name: bytes = b""
    only_ends: bool = False
    """It does no more than to end a transaction (or to begin one in vain)."""
    resets: bool = False
    """Parameters that PostgreSQL does not report go back to what they were at the server's login."""
    resets_all: bool = False
    """All parameters do, reported or not."""
    forgets: bool = False
    """All prepared statements are gone after it."""


PLAIN: Final = Verdict()
"""By far the most: nothing to know. Compared by identity on the hot path."""

REPORTED: Final = frozenset(
    {
        b"application_name",
        b"client_encoding",
        b"datestyle",
        b"intervalstyle",
        b"standard_conforming_strings",
        b"timezone",
    }
)
"""Parameters whose every change PostgreSQL tells by ParameterStatus (GUC_REPORT): tracked, so SET needs no pin."""

READ_LIMIT: Final = 4 * 1024
"""Longer texts are not read token by token (that would hold up the loop); they are searched for words."""

_CACHED_LENGTH: Final = 512
_CACHE_SIZE: Final = 2048
_cache: dict[bytes, Verdict] = {}

_HEADS: Final = {
    head: word == b"SELECT"
    for word in (b"SELECT", b"INSERT", b"UPDATE", b"DELETE")
    for head in (word, word.lower(), word.title())
}
"""The first six bytes of most statements, and whether an INTO behind them makes a table."""


def classify(sql: bytes) -> Verdict:
    """Say what *sql* means. Never raises; linear time. A text without trailing zero byte."""
    into = _HEADS.get(sql[:6])
    if into is not None:
        end = sql.find(b";")
        if end < 0 or end >= len(sql) - 2:
            # What pins hides in a function's call or behind INTO: no parenthesis and no INTO, nothing to find.
            # `find`, because `in` takes twice as long on bytes.
            if sql.find(b"(") < 0:
                if not into or sql.lower().find(b"into") < 0:
                    return PLAIN
            else:
                low = sql.lower()
                if low.find(b"temp") < 0 and low.find(b"advisory_lock") < 0 and low.find(b"set_config") < 0:
                    return PLAIN
    verdict = _cache.get(sql)
    if verdict is None:
        verdict = _read(sql) if len(sql) <= READ_LIMIT else _search(sql)
        if len(sql) <= _CACHED_LENGTH:
            if len(_cache) >= _CACHE_SIZE:
                _cache.clear()
            _cache[sql] = verdict
    return verdict


_TOKEN: Final = re.compile(
    rb"""
      (?P<space>\s+|--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<literal>[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z))
    | (?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)
    | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
    | (?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")


def _statements(sql: bytes) -> list[list[bytes]]:
    """The words of each statement, lowered; a quoted name as `"name`, anything else but space as it stands."""
    statements: list[list[bytes]] = [[]]
    position = 0
    while match := _TOKEN.match(sql, position):
        position = match.end()
        match match.lastgroup:
            case "word":
                statements[-1].append(match[0].lower())
            case "quoted":
                statements[-1].append(b'"' + match[0][1:].removesuffix(b'"').replace(b'""', b'"'))
            case "comment":
                position = _after_comment(sql, position)
            case "dollar":
                closing = sql.find(match[0], position)
                position = len(sql) if closing < 0 else closing + len(match[0])
                statements[-1].append(b"'")
            case "literal":
                statements[-1].append(b"'")
            case "end":
                statements.append([])
            case "other":
                statements[-1].append(match[0])
            case _:
                pass
    return [words for words in statements if words]


def _after_comment(sql: bytes, position: int) -> int:
    """Comments nest in PostgreSQL (docs, 4.1.5)."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _read(sql: bytes) -> Verdict:
    statements = _statements(sql)
    pins = [pin for words in statements if (pin := _pin(words, sql))]
    pin = pins[0] if pins else Pin.NONE
    kind, name = _kind(statements[0]) if len(statements) == 1 else (Kind.OTHER, b"")
    verdict = Verdict(
        kind,
        pin,
        name,
        only_ends=not pin and kind in (Kind.COMMIT, Kind.ROLLBACK, Kind.BEGIN),
        resets=any(_resets(words) for words in statements),
        resets_all=any(words in _ALL for words in statements),
        forgets=any(_forgets(words) for words in statements),
    )
    return PLAIN if verdict == PLAIN else verdict


def _search(sql: bytes) -> Verdict:
    low = sql.lower()
    if b"advisory_lock" in low:
        return Verdict(pin=Pin.ADVISORY_LOCK)
    if b"set_config" in low:
        return Verdict(pin=Pin.SET)
    head = _read(sql[:READ_LIMIT])
    # From the last statement that the head may have cut off; once as it stands, and once without its comments.
    tail = low[max(0, low.rfind(b";", 0, READ_LIMIT)) :]
    tail += b" ;" + _without_comments(tail)
    pin = head.pin or next((pin for pin, pattern in _LATER if pattern.search(tail)), Pin.NONE)
    later = _LATER_RESET.search(tail) is not None
    verdict = Verdict(
        pin=pin,
        resets=head.resets or later,
        resets_all=head.resets_all or _LATER_ALL.search(tail) is not None,
        forgets=head.forgets or later,
    )
    return PLAIN if verdict == PLAIN else verdict


def _without_comments(text: bytes) -> bytes:
    """Linear also where comments have no end: behind the last end of one, none is looked for."""
    closed = text.rfind(b"*/") + 2 if b"*/" in text else 0
    return _LINE_COMMENT.sub(b" ", _BLOCK_COMMENT.sub(b" ", text[:closed]) + text[closed:])


_TEMPORARY_IN_TEXT: Final = rb"\b(?:create|replace|into)\s+(?:(?:local|global)\s+)?temp(?:orary)?\b"
# In the part of a long text that is not read by tokens; what stands in a literal may pin there in vain.
_START: Final = rb";\s*+"
_LINE_COMMENT: Final = re.compile(rb"--[^\n]*+")
_BLOCK_COMMENT: Final = re.compile(rb"/\*(?:[^*]++|\*(?!/))*+\*/")
_LATER: Final = (
    (Pin.SET, re.compile(_START + rb"set\s(?!\s*(?:local|transaction|constraints)\b)")),
    (Pin.LISTEN, re.compile(_START + rb"listen\b")),
    (Pin.LOAD, re.compile(_START + rb"load\b")),
    (Pin.PREPARE, re.compile(_START + rb"prepare\s")),
    (Pin.HOLD, re.compile(_START + rb"declare\s")),
    (Pin.TEMPORARY, re.compile(_TEMPORARY_IN_TEXT + rb"|\bpg_temp\b")),
)
_LATER_ALL: Final = re.compile(_START + rb"(?:reset|discard)\s+all\b")
_LATER_RESET: Final = re.compile(_START + rb"(?:reset|discard|deallocate)\s")


_MODE: Final = (
    rb"(?:isolation level (?:read committed|read uncommitted|repeatable read)|read only|not deferrable|deferrable)"
)
# READ WRITE and SERIALIZABLE are left out: on a hot standby they fail at once, and an answer given in advance
# can't be taken back (PostgreSQL docs, 26.4.1). PostgreSQL answers those itself.
_SINGLE: Final = (
    (
        Kind.BEGIN,
        re.compile(
            rb"(?:begin(?: work| transaction)?|start transaction)(?: " + _MODE + rb"(?:(?: ,)? " + _MODE + rb")*)?"
        ),
    ),
    (Kind.COMMIT, re.compile(rb"(?:commit|end)(?: work| transaction)?(?: and no chain)?")),
    (Kind.PREPARE_TRANSACTION, re.compile(rb"prepare transaction '")),
    (Kind.ROLLBACK, re.compile(rb"(?:rollback|abort)(?: work| transaction)?(?: and no chain)?")),
    (Kind.DISCARD_ALL, re.compile(rb"discard all")),
    (Kind.RESET_ALL, re.compile(rb"reset all")),
    (Kind.DEALLOCATE_ALL, re.compile(rb"deallocate (?:prepare )?all")),
)


def _kind(words: list[bytes]) -> tuple[Kind, bytes]:
    if words[0] == b"deallocate" and words[-1] != b"all" and (len(words) == 2 or words[1:-1] == [b"prepare"]):
        return Kind.DEALLOCATE, words[-1].removeprefix(b'"')
    if len(words) <= 16:
        text = b" ".join(words)
        for kind, pattern in _SINGLE:
            if pattern.fullmatch(text):
                return kind, words[0] if words[0] == b"start" else b""
    return Kind.OTHER, b""


_ADVISORY: Final = frozenset(
    (b"pg_advisory_lock", b"pg_advisory_lock_shared", b"pg_try_advisory_lock", b"pg_try_advisory_lock_shared")
)
_TEMPORARY: Final = frozenset((b"temp", b"temporary"))
_BEFORE_TEMPORARY: Final = frozenset((b"create", b"replace", b"local", b"global", b"into"))


_ALL: Final = ([b"reset", b"all"], [b"discard", b"all"])


def _resets(words: list[bytes]) -> bool:
    if words[0] == b"reset" and len(words) > 1:
        return words[1].removeprefix(b'"').lower() not in REPORTED and words[1:3] != [b"time", b"zone"]
    return words == [b"discard", b"all"]


def _forgets(words: list[bytes]) -> bool:
    return words in ([b"discard", b"all"], [b"deallocate", b"all"], [b"deallocate", b"prepare", b"all"])


def _pin(words: list[bytes], sql: bytes) -> Pin:
    head, names = words[0], {word.removeprefix(b'"') for word in words}
    if head == b"set":
        return _pin_of_set(words)
    if head == b"listen":
        return Pin.LISTEN
    if head == b"load":
        return Pin.LOAD
    if head == b"prepare" and words[1:2] != [b"transaction"]:
        return Pin.PREPARE
    if head == b"declare" and b" with hold " in b" ".join(words):
        return Pin.HOLD
    if names & _ADVISORY:
        return Pin.ADVISORY_LOCK
    if b"set_config" in names and _sets_beyond_transaction(words):
        return Pin.SET
    if b"pg_temp" in names or (names & _TEMPORARY and _makes_temporary(words)):
        return Pin.TEMPORARY
    return _pin_of_block(sql.lower()) if head == b"do" else Pin.NONE


def _pin_of_block(low: bytes) -> Pin:
    """Of a DO: its code is a literal, so it is only searched for words."""
    if b"advisory_lock" in low:
        return Pin.ADVISORY_LOCK
    if b"set_config" in low:
        return Pin.SET
    return Pin.TEMPORARY if re.search(_TEMPORARY_IN_TEXT, low) else Pin.NONE


def _sets_beyond_transaction(words: list[bytes]) -> bool:
    """Whether a call of set_config has anything but `true` as its last argument."""
    parentheses: list[bool] = []
    """Of those that are open: whether it is a call of set_config."""
    called = unjudged = 0
    before: tuple[bytes, bytes] = (b"", b"")
    for word in words:
        if word == b"(":
            parentheses.append(before[1].removeprefix(b'"') == b"set_config")
            called += parentheses[-1]
        elif word == b")" and parentheses and parentheses.pop():
            unjudged += before != (b",", b"true")
            called -= 1
        before = (before[1], word)
    return bool(unjudged or called)


def _makes_temporary(words: list[bytes]) -> bool:
    made = any(word in _TEMPORARY and before in _BEFORE_TEMPORARY for before, word in pairwise(words))
    return made and b" on commit drop" not in b" ".join(words)


def _pin_of_set(words: list[bytes]) -> Pin:
    rest = words[1:]
    if rest[:1] == [b"session"] and rest[1:2] not in ([b"characteristics"], [b"authorization"]):
        rest = rest[1:]
    first = rest[0].removeprefix(b'"').lower() if rest else b""
    if first in REPORTED or first in (b"local", b"transaction", b"constraints", b"names"):
        return Pin.NONE
    if rest[:2] == [b"time", b"zone"]:
        return Pin.NONE
    return Pin.SET
