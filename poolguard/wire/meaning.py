"""What one statement, given as its words, leaves behind in its server's session or takes back. Pure, and strict."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

Words = Sequence[bytes]


class Pin(StrEnum):
    """Why a server must stay with its session after the transaction."""

    NONE = ""
    SET = "SET of a parameter that PostgreSQL does not report"
    PATH = "SET search_path"
    ROLE = "SET ROLE or SESSION AUTHORIZATION"
    CONFIG = "set_config() for the session"
    STRINGS = "standard_conforming_strings is off"
    LISTEN = "LISTEN"
    ADVISORY_LOCK = "session advisory lock"
    TEMPORARY = "temporary table"
    HOLD = "cursor WITH HOLD"
    PREPARE = "PREPARE in SQL"
    PROTOCOL_PREPARE = "named prepared statement"
    LOAD = "LOAD"
    SEQUENCE = "currval() or lastval()"
    SEED = "setseed()"
    UNREAD = "a text too tangled to be read"


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
"""Parameters whose every change PostgreSQL tells by ParameterStatus (GUC_REPORT): tracked, so SET needs no pin.

search_path is one of them only since version 18, so it has a Pin of its own.
"""

SEARCH_PATH: Final = b"search_path"

ALL_PARAMETERS: Final = b"*"
"""Stands for the names of all parameters."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What one statement leaves and takes back."""

    pins: frozenset[Pin] = frozenset()
    frees: frozenset[Pin] = frozenset()
    """Pins that end with it, if it is alone in its text and succeeds outside of a transaction."""
    resets: frozenset[bytes] = frozenset()
    """Parameters that go back to what they were at the server's login, by lower-case name."""
    sets: frozenset[bytes] = frozenset()
    """Parameters that have a new value in the session, by lower-case name."""
    forgets: bool = False
    """All prepared statements are gone after it."""
    unlocks: bool = False
    """A session advisory lock may be given back."""
    strays: bool = False
    """What names in a statement mean may be another thing after it to this session: search_path, role, temporary
    tables."""
    restructures: bool = False
    """The same to everybody: tables, views, types or functions."""


NOTHING: Final = Traces()

_MEANING: Final = frozenset((SEARCH_PATH, b"role", b"session_authorization"))
_PINS_OF: Final = {SEARCH_PATH: Pin.PATH, b"role": Pin.ROLE, b"session_authorization": Pin.ROLE, b"seed": Pin.SEED}
"""All others are SET. What is neither SET nor PATH RESET ALL leaves as it is."""
_ALIASES: Final = {b"names": b"client_encoding", b"schema": SEARCH_PATH}
_FREED_BY: Final[dict[tuple[bytes, ...], frozenset[Pin]]] = {
    (b"discard", b"all"): frozenset(Pin),
    (b"reset", b"all"): frozenset((Pin.SET, Pin.PATH)),
    (b"deallocate", b"all"): frozenset((Pin.PREPARE, Pin.PROTOCOL_PREPARE)),
    (b"deallocate", b"prepare", b"all"): frozenset((Pin.PREPARE, Pin.PROTOCOL_PREPARE)),
    (b"close", b"all"): frozenset((Pin.HOLD,)),
    (b"unlisten", b"*"): frozenset((Pin.LISTEN,)),
    (b"discard", b"temp"): frozenset((Pin.TEMPORARY,)),
    (b"discard", b"temporary"): frozenset((Pin.TEMPORARY,)),
    (b"discard", b"sequences"): frozenset((Pin.SEQUENCE,)),
    (b"select", b"pg_advisory_unlock_all", b"(", b")"): frozenset((Pin.ADVISORY_LOCK,)),
    (b"select", b"pg_catalog", b".", b"pg_advisory_unlock_all", b"(", b")"): frozenset((Pin.ADVISORY_LOCK,)),
}
_FORGETS: Final = ([b"discard", b"all"], [b"deallocate", b"all"], [b"deallocate", b"prepare", b"all"])
_CALLS: Final = {
    b"pg_advisory_lock": Pin.ADVISORY_LOCK,
    b"pg_advisory_lock_shared": Pin.ADVISORY_LOCK,
    b"pg_try_advisory_lock": Pin.ADVISORY_LOCK,
    b"pg_try_advisory_lock_shared": Pin.ADVISORY_LOCK,
    b"currval": Pin.SEQUENCE,
    b"lastval": Pin.SEQUENCE,
    b"setseed": Pin.SEED,
    b"pg_temp": Pin.TEMPORARY,
}
_UNLOCKS: Final = frozenset((b"pg_advisory_unlock", b"pg_advisory_unlock_shared", b"pg_advisory_unlock_all"))
_TEMPORARY: Final = frozenset((b"temp", b"temporary"))
_HEADS: Final = frozenset(
    (
        b"set",
        b"reset",
        b"discard",
        b"listen",
        b"load",
        b"prepare",
        b"declare",
        b"do",
        b"deallocate",
        b"close",
        b"unlisten",
        b"create",
        b"alter",
        b"drop",
    )
)
_SUSPECTS: Final = frozenset(
    mark + word for word in (*_CALLS, *_TEMPORARY, *_UNLOCKS, b"set_config") for mark in (b"", b'"')
)
"""Most statements have neither such a head nor such a word, and leave nothing."""
_CHANGES: Final = frozenset((b"create", b"alter", b"drop"))
_STRUCTURES: Final = frozenset(
    (
        b"table",
        b"view",
        b"materialized",
        b"type",
        b"domain",
        b"function",
        b"procedure",
        b"routine",
        b"aggregate",
        b"operator",
        b"cast",
        b"schema",
        b"extension",
    )
)
"""What a name in a prepared statement may stand for, as the first three words behind CREATE, ALTER or DROP say it."""
_BEFORE_TEMPORARY: Final = frozenset((b"create", b"replace", b"local", b"global", b"into"))


def traces(words: list[bytes], sql: bytes) -> Traces:
    """Read one statement. *sql* is the whole text: what stands in the literal of a DO is looked for there."""
    head = words[0]
    if head not in _HEADS and _SUSPECTS.isdisjoint(words):
        return NOTHING
    if head == b"set":
        return _of_set(words[1:])
    if head in (b"reset", b"discard"):
        return _of_reset(words)
    pins: set[Pin] = set()
    names = {word.removeprefix(b'"') for word in words}
    strays = b"set_config" in names
    if head == b"listen":
        pins.add(Pin.LISTEN)
    elif head == b"load":
        pins.add(Pin.LOAD)
    elif head == b"prepare" and words[1:2] != [b"transaction"]:
        pins.add(Pin.PREPARE)
    elif head == b"declare" and b" with hold " in b" ".join(words):
        pins.add(Pin.HOLD)
    elif head == b"do":
        pins |= _of_code(sql.lower())
        strays = True
    pins |= {_CALLS[name] for name in _CALLS.keys() & names}
    if b"set_config" in names and _sets_beyond_transaction(words):
        pins.add(Pin.CONFIG)
    if names & _TEMPORARY and _makes_temporary(words):
        strays = True
        if b" on commit drop" not in b" ".join(words):
            pins.add(Pin.TEMPORARY)
    return Traces(
        frozenset(pins),
        _FREED_BY.get(tuple(words), frozenset()),
        forgets=words in _FORGETS,
        unlocks=not _UNLOCKS.isdisjoint(names),
        strays=strays,
        restructures=_restructures(words),
    )


def _of_set(rest: list[bytes]) -> Traces:
    """SET; *rest* is what follows it."""
    local = rest[:1] == [b"local"]
    if local or (rest[:1] == [b"session"] and rest[1:2] != [b"characteristics"]):
        rest = rest[1:]
    name = _parameter(rest)
    strays = name in _MEANING
    if local or name in (b"transaction", b"constraints"):
        return Traces(strays=strays)
    if rest[-1:] == [b"default"] or rest == [b"names"] or (name == b"timezone" and rest[-1:] == [b"local"]):
        return Traces(resets=_going_back(name), strays=strays)
    pins = frozenset(() if name in REPORTED else (_PINS_OF.get(name, Pin.SET),))
    return Traces(pins, sets=frozenset((name,)), strays=strays)


def _of_reset(words: list[bytes]) -> Traces:
    """RESET and DISCARD."""
    frees = _FREED_BY.get(tuple(words), frozenset())
    if words[1:] == [b"all"]:
        return Traces(frees=frees, resets=frozenset((ALL_PARAMETERS,)), forgets=words[0] == b"discard", strays=True)
    if words[0] == b"reset" and len(words) > 1:
        name = _parameter(words[1:])
        return Traces(resets=_going_back(name), strays=name in _MEANING)
    return Traces(frees=frees, strays=Pin.TEMPORARY in frees)


def _going_back(name: bytes) -> frozenset[bytes]:
    """What goes back to its value at the server's login with *name*: no role outlives another session user."""
    return frozenset((name, b"role") if name == b"session_authorization" else (name,))


def _parameter(rest: list[bytes]) -> bytes:
    """The lower-case name of the parameter with which *rest* begins; also where SQL has words of its own for it."""
    if rest[:2] == [b"time", b"zone"]:
        return b"timezone"
    if rest[:1] == [b"authorization"] or rest[:2] == [b"session", b"authorization"]:
        return b"session_authorization"
    name = rest[0].removeprefix(b'"').lower() if rest else b""
    return _ALIASES.get(name, name)


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


def _restructures(words: list[bytes]) -> bool:
    """Whether names in everybody's statements may mean another thing after it; a temporary table is one session's."""
    return words[0] in _CHANGES and not _STRUCTURES.isdisjoint(words[1:4]) and _TEMPORARY.isdisjoint(words[1:3])


def _makes_temporary(words: list[bytes]) -> bool:
    return any(word in _TEMPORARY and before in _BEFORE_TEMPORARY for before, word in pairwise(words))


# In the code of a DO, which is a literal and is only searched: what stands there may pin in vain.
_BEGINS: Final = rb"(?:[;'$]|\b(?:begin|then|else|loop))\s*"
_IN_CODE: Final = (
    (Pin.ADVISORY_LOCK, re.compile(rb"advisory_lock")),
    (Pin.CONFIG, re.compile(rb"set_config")),
    (Pin.SEQUENCE, re.compile(rb"\b(?:currval|lastval)\b")),
    (Pin.SEED, re.compile(rb"\bsetseed\b")),
    (Pin.TEMPORARY, re.compile(rb"\b(?:create|replace|into)\s+(?:(?:local|global)\s+)?temp(?:orary)?\b|\bpg_temp\b")),
    (Pin.SET, re.compile(_BEGINS + rb"set\s(?!\s*(?:local|transaction|constraints)\b)")),
    (Pin.LISTEN, re.compile(_BEGINS + rb"listen\b")),
    (Pin.LOAD, re.compile(_BEGINS + rb"load\b")),
)


def _of_code(low: bytes) -> set[Pin]:
    return {pin for pin, pattern in _IN_CODE if pattern.search(low)}
