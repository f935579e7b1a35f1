"""What a statement means to a pooler, read off its text: BEGIN and its like, and what must not be lost with a server.

A verdict errs to the safe side: a text that might leave something behind in the server's session pins it. Texts
are read by tokens, so neither a comment, nor a literal, nor a second statement hides anything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from poolguard.wire.long_text import READ_LIMIT, UNREAD, search
from poolguard.wire.meaning import ALL_PARAMETERS, NOTHING, REPORTED, SEARCH_PATH, Pin, Traces, traces
from poolguard.wire.path import path_of
from poolguard.wire.subscriptions import Subscription, subscriptions
from poolguard.wire.tokens import statements

__all__ = ["ALL_PARAMETERS", "PLAIN", "READ_LIMIT", "REPORTED", "Kind", "Pin", "Verdict", "classify"]


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one text means. *name* is what DEALLOCATE names, folded as PostgreSQL folds it; `start` if START begins."""

    kind: Kind = Kind.OTHER
    pin: Pin = Pin.NONE
    name: bytes = b""
    pins: frozenset[Pin] = frozenset()
    """All reasons to pin; `pin` is the first."""
    frees: frozenset[Pin] = frozenset()
    """Pins that end with it, if it succeeds outside of a transaction."""
    only_ends: bool = False
    """It does no more than to end a transaction (or to begin one in vain)."""
    resets: frozenset[bytes] = frozenset()
    """Parameters that go back to what they were at the server's login, by lower-case name; ALL_PARAMETERS for all."""
    spares: frozenset[bytes] = frozenset()
    """Those of them that the text then sets anew."""
    deallocates: tuple[bytes, ...] = ()
    """What its DEALLOCATEs name, each as `name`, in order."""
    forgets: bool = False
    """All prepared statements are gone after it."""
    unlocks: bool = False
    """A session advisory lock may be given back."""
    strays: bool = False
    """What names in a statement mean may be another thing after it to this session: search_path, role, temporary
    tables."""
    restructures: bool = False
    """The same to everybody: tables, views, types or functions."""
    restarts: bool = False
    """A transaction may end with it, and the next begin."""
    subscribes: tuple[Subscription, ...] = ()
    """In order, if it is nothing but LISTEN and UNLISTEN (perhaps several)."""
    path: str | None = None
    """What search_path is after it, as a SET says it, if that is its only statement; empty if it goes back to what it
    was at the login, and nothing in the text can undo that. Else None."""

    @property
    def resets_path(self) -> bool:
        """The search_path goes back."""
        return ALL_PARAMETERS in self.resets or SEARCH_PATH in self.resets

    @property
    def resets_all(self) -> bool:
        """All parameters go back, reported or not."""
        return ALL_PARAMETERS in self.resets


PLAIN: Final = Verdict()
"""By far the most: nothing to know. Compared by identity on the hot path."""

_CACHED_LENGTH: Final = 512
_CACHE_SIZE: Final = 2048
_cache: dict[bytes, Verdict] = {}
_plain_shapes: set[bytes] = set()
"""Texts that are plainly PLAIN, with each digit a zero: clients write other numbers into the same text."""

_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")

_HEADS: Final = {
    head: word == b"SELECT"
    for word in (b"SELECT", b"INSERT", b"UPDATE", b"DELETE")
    for head in (word, word.lower(), word.title())
}
"""The first six bytes of most statements, and whether an INTO behind them makes a table."""

_TELLTALES: Final = (b"temp", b"advisory_", b"set_config", b"currval", b"lastval", b"setseed", b'u&"')
"""What a text holds that pins by a function's call, in lower case."""


def classify(sql: bytes) -> Verdict:
    """Say what *sql* means. Never raises; linear time. A text without trailing zero byte."""
    verdict = _cache.get(sql)
    if verdict is not None:
        return verdict
    if len(sql) > _CACHED_LENGTH:
        return PLAIN if _is_plain(sql) else _read(sql)
    shape = sql.translate(_ZEROS)
    if shape in _plain_shapes:
        return PLAIN
    if _is_plain(sql):
        if len(_plain_shapes) >= _CACHE_SIZE:
            _plain_shapes.clear()
        _plain_shapes.add(shape)
        return PLAIN
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    verdict = _cache[sql] = _read(sql)
    return verdict


def _is_plain(sql: bytes) -> bool:
    """Whether a look is enough to know that *sql* is PLAIN. Nothing that is looked at has a digit."""
    into = _HEADS.get(sql[:6])
    if into is None or 0 <= sql.find(b";") < len(sql) - 2:
        return False
    # What pins hides in a function's call or behind INTO: no parenthesis and no INTO, nothing to find.
    # `find`, because `in` takes twice as long on bytes, and a text over _CACHED_LENGTH is looked at each time.
    low = sql.lower()
    if low.find(b"(") < 0:
        return not into or low.find(b"into") < 0
    for telltale in _TELLTALES:  # noqa: SIM110 - any() would make a generator
        if low.find(telltale) >= 0:
            return False
    return True


def _read(sql: bytes) -> Verdict:
    if len(sql) > READ_LIMIT:
        return _verdict(search(sql))
    texts = statements(sql)
    kind, name = _kind(texts[0]) if len(texts) == 1 else (Kind.OTHER, b"")
    found = [left for words in texts if (left := traces(words, sql)) is not NOTHING]
    if b"uescape" in sql.lower():
        found.append(UNREAD)  # a name behind it may be any
    deallocates = tuple(named for words in texts if (named := _deallocated(words)))
    verdict = _verdict(found, kind, name, restarts=_restarts(texts), deallocates=deallocates)
    if (path := _path(verdict, texts, sql)) is not None:
        verdict = replace(verdict, path=path)
    if subscribes := subscriptions(texts):
        verdict = replace(verdict, subscribes=subscribes)
    frees = frozenset(pin for each in found for pin in each.frees)
    return replace(verdict, frees=frees) if frees and not verdict.pins and not _controls(texts) else verdict


def _path(verdict: Verdict, texts: list[list[bytes]], sql: bytes) -> str | None:
    """See Verdict.path."""
    if verdict.resets_path:
        return None if verdict.pins or _controls(texts) else ""
    return path_of(sql) if len(texts) == 1 and Pin.PATH in verdict.pins else None


def _controls(texts: list[list[bytes]]) -> bool:
    """Whether a transaction that begins or ends in between may undo the rest."""
    return any(words[0] in _CONTROLS for words in texts)


def _verdict(
    found: Sequence[Traces],
    kind: Kind = Kind.OTHER,
    name: bytes = b"",
    *,
    restarts: bool = False,
    deallocates: tuple[bytes, ...] = (),
) -> Verdict:
    pins = [pin for each in found for pin in Pin if pin in each.pins]
    resets, spares = _resets(found)
    verdict = Verdict(
        kind,
        pins[0] if pins else Pin.NONE,
        name,
        pins=frozenset(pins),
        only_ends=not pins and kind in (Kind.COMMIT, Kind.ROLLBACK, Kind.BEGIN),
        resets=resets,
        spares=spares,
        deallocates=deallocates,
        forgets=any(each.forgets for each in found),
        unlocks=any(each.unlocks for each in found),
        strays=any(each.strays for each in found),
        restructures=any(each.restructures for each in found),
        restarts=restarts,
    )
    return PLAIN if verdict == PLAIN else verdict


def _resets(found: Sequence[Traces]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """What is reset, and what of it has a new value behind that."""
    resets: frozenset[bytes] = frozenset()
    spares: frozenset[bytes] = frozenset()
    for each in found:
        resets |= each.resets
        spares = frozenset() if ALL_PARAMETERS in each.resets else spares - each.resets
        spares |= each.sets
    return resets, spares if resets else frozenset()


def _restarts(texts: list[list[bytes]]) -> bool:
    """Whether another transaction may begin behind the end of one: by AND CHAIN, or by the next statement."""
    ends = [at for at, words in enumerate(texts) if words[0] in _ENDS and not _STAYS.intersection(words[1:3])]
    return any(at + 1 < len(texts) or (b"chain" in texts[at] and b"no" not in texts[at]) for at in ends)


_ENDS: Final = frozenset((b"commit", b"end", b"rollback", b"abort"))
_CONTROLS: Final = _ENDS.union((b"begin", b"start", b"savepoint", b"release", b"prepare"))
_STAYS: Final = frozenset((b"to", b"prepared"))


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


def _deallocated(words: list[bytes]) -> bytes:
    """What a DEALLOCATE names; empty if it is none, or of all."""
    if words[0] == b"deallocate" and words[-1] != b"all" and (len(words) == 2 or words[1:-1] == [b"prepare"]):
        return words[-1].removeprefix(b'"')
    return b""


def _kind(words: list[bytes]) -> tuple[Kind, bytes]:
    if name := _deallocated(words):
        return Kind.DEALLOCATE, name
    if len(words) <= 16:
        text = b" ".join(words)
        for kind, pattern in _SINGLE:
            if pattern.fullmatch(text):
                return kind, words[0] if words[0] == b"start" else b""
    return Kind.OTHER, b""
