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
    """What one text means. *name* is what DEALLOCATE names, folded as PostgreSQL folds it."""

    kind: Kind = Kind.OTHER
    pin: Pin = Pin.NONE
    name: bytes = b""
    only_ends: bool = False
    """It does no more than to end a transaction (or to begin one in vain)."""


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

READ_LIMIT: Final = 16 * 1024
"""Longer texts are not read token by token (that would hold up the loop); they are searched for words."""

_CACHED_LENGTH: Final = 512
_CACHE_SIZE: Final = 2048
_cache: dict[bytes, Verdict] = {}

_PLAIN_HEADS: Final = frozenset(
    head for word in (b"SELECT", b"INSERT", b"UPDATE", b"DELETE") for head in (word, word.lower(), word.title())
)


def classify(sql: bytes) -> Verdict:
    """Say what *sql* means. Never raises; linear time. A text without trailing zero byte."""
    if sql[:6] in _PLAIN_HEADS:
        end = sql.find(b";")
        if end < 0 or end >= len(sql) - 2:
            # What pins hides in a function's call or behind INTO: no parenthesis and no INTO, nothing to find.
            low = sql.lower()
            if b"(" not in low:
                if b"into" not in low:
                    return PLAIN
            elif b"temp" not in low and b"advisory_lock" not in low and b"set_config" not in low:
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
    if len(statements) != 1:
        return Verdict(pin=pin) if pin else PLAIN
    kind, name = _kind(statements[0])
    only_ends = not pin and kind in (Kind.COMMIT, Kind.ROLLBACK, Kind.BEGIN)
    return Verdict(kind, pin, name, only_ends) if pin or kind is not Kind.OTHER else PLAIN


def _search(sql: bytes) -> Verdict:
    low = sql.lower()
    if b"advisory_lock" in low:
        return Verdict(pin=Pin.ADVISORY_LOCK)
    if b"set_config" in low:
        return Verdict(pin=Pin.SET)
    head = _read(sql[:READ_LIMIT])
    return Verdict(pin=head.pin) if head.pin else PLAIN


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
    if words[0] == b"deallocate" and words[-1] != b"all" and len(words) <= 3:
        return Kind.DEALLOCATE, words[-1].removeprefix(b'"')
    if len(words) <= 16:
        text = b" ".join(words)
        for kind, pattern in _SINGLE:
            if pattern.fullmatch(text):
                return kind, b""
    return Kind.OTHER, b""


_ADVISORY: Final = frozenset(
    (b"pg_advisory_lock", b"pg_advisory_lock_shared", b"pg_try_advisory_lock", b"pg_try_advisory_lock_shared")
)
_TEMPORARY: Final = frozenset((b"temp", b"temporary"))
_BEFORE_TEMPORARY: Final = frozenset((b"create", b"replace", b"local", b"global", b"into"))
_CONFIG_CALL: Final = re.compile(rb"(?i)set_config\s*\(")
_LOCAL_CONFIG_CALL: Final = re.compile(rb"(?i)set_config\s*\([^()]*,\s*true\s*\)")


def _pin(words: list[bytes], sql: bytes) -> Pin:
    head, names = words[0], set(words)
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
    if b"set_config" in names and len(_CONFIG_CALL.findall(sql)) != len(_LOCAL_CONFIG_CALL.findall(sql)):
        return Pin.SET
    if b"pg_temp" in names or (names & _TEMPORARY and _makes_temporary(words)):
        return Pin.TEMPORARY
    return Pin.NONE


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
