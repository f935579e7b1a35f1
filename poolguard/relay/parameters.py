"""A session's run-time parameters, and the SQL that gives a server another session's. Pure.

Sets are interned: two sessions with the same parameters share one object, so that the hot path compares by
identity. What is held here is what differs from the server's own login: the client's startup parameters, and
whatever PostgreSQL has reported since as changed by it.
"""

from collections.abc import Mapping
from typing import Final
from weakref import WeakValueDictionary

from poolguard.wire.meaning import SEARCH_PATH
from poolguard.wire.text import REPORTED

PATH: Final = SEARCH_PATH.decode()
TRACKED: Final = frozenset((*(name.decode() for name in REPORTED), PATH))
"""Names (lower case) whose ParameterStatus is followed. PostgreSQL sends that of search_path since version 18."""

SAID: Final = "\0"
"""Begins a value that is not one for set_config, but stands as a client's SET said it; no other can hold it."""


class ParameterSet:
    """Frozen pairs of lower-case name and value. Make one with `parameter_set`; equal sets are the same object."""

    __slots__ = ("__weakref__", "items")

    def __init__(self, items: tuple[tuple[str, str], ...]) -> None:
        self.items: Final = items

    def changed(self, name: str, value: str) -> "ParameterSet":
        """The same set, but for one parameter."""
        return parameter_set({**dict(self.items), name.lower(): value})

    def get(self, name: str) -> str | None:
        """The value of a lower-case *name*; None if it is as at the server's login."""
        return next((value for key, value in self.items if key == name), None)

    def like(self, other: "ParameterSet", name: str) -> "ParameterSet":
        """The same set, but with one parameter as *other* has it, or without it."""
        rest = {key: value for key, value in self.items if key != name.lower()}
        return parameter_set(rest | {key: value for key, value in other.items if key == name.lower()})


_interned: WeakValueDictionary[tuple[tuple[str, str], ...], ParameterSet] = WeakValueDictionary()


def parameter_set(parameters: Mapping[str, str]) -> ParameterSet:
    """The one set with these *parameters*."""
    items = tuple(sorted((name.lower(), value) for name, value in parameters.items()))
    found = _interned.get(items)
    if found is None:
        found = _interned[items] = ParameterSet(items)
    return found


NONE: Final = parameter_set({})
"""A server as it was after its login."""


def quote(value: str) -> str:
    """A literal that reads the same whatever standard_conforming_strings and client_encoding are.

    All ASCII (PostgreSQL docs, 4.1.2.2): in some encodings a backslash can be half a character.
    """
    return "E'" + "".join(_escape(char) for char in value) + "'"


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\\'":
        return char * 2
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was no UTF-8
    if code < 0x80:
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_RESETS: Final = ("RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL")
"""RESET ALL leaves the first two as they are (GUC_NO_RESET_ALL), and whoever comes next would act as somebody else."""


def switch(now: ParameterSet | None, wanted: ParameterSet) -> str:
    """The SQL that turns a server with *now* into one with *wanted*; None: nothing is known of it.

    set_config takes a value as it stands, also a list (search_path), where SET would read a quoted list as a
    single name (PostgreSQL docs, 9.28.1).
    """
    before, after = dict(now.items) if now is not None else {}, dict(wanted.items)
    statements = [] if now is not None else list(_RESETS)
    statements += [f'RESET "{_identifier(name)}"' for name in before if name not in after]
    new = {name: value for name, value in after.items() if before.get(name) != value}
    calls = [_set(name, value) for name, value in new.items() if not value.startswith(SAID)]
    statements += [f"SET {name} TO {value[1:]}" for name, value in new.items() if value.startswith(SAID)]
    if calls:
        statements.append("SELECT " + ",".join(calls))
    return ";".join(statements)


def give(values: Mapping[str, str]) -> str:
    """The SQL that sets *values* (at least one) and returns no row, for where there is nobody to read it."""
    return "SELECT WHERE " + " OR ".join(f"{_set(name, value)} IS NULL" for name, value in values.items())


def _set(name: str, value: str) -> str:
    return f"pg_catalog.set_config({quote(name)},{quote(value)},false)"


def _identifier(name: str) -> str:
    return name.replace('"', '""')


class Reset:
    """One RESET or DISCARD ALL, behind which the client's own values must be given again."""

    __slots__ = ("discarded", "everything", "failed", "given", "in_batch", "mine", "reported", "stood")

    def __init__(self, mine: dict[str, str], *, everything: bool, in_batch: bool) -> None:
        self.mine = mine
        """What the client asked for at its login, of what is reset."""
        self.everything = everything
        self.in_batch = in_batch
        """They were given again in the same batch, which is enough unless that failed behind a DISCARD ALL."""
        self.discarded = False
        """That DISCARD ALL was executed."""
        self.failed = False
        """An error came with it."""
        self.reported: dict[str, str] = {}
        """What PostgreSQL has said of parameters since, by its names."""
        self.stood: dict[str, str | None] = {}
        """What those were before."""
        self.given: dict[str, str] = {}

    def report(self, name: str, value: str, before: str | None) -> None:
        """PostgreSQL says that a parameter is *value* now, which was *before* until then."""
        self.stood.setdefault(name, before)
        self.reported[name] = value

    def lost(self, before: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
        """What the client has lost by it. *before* and *usual*: by lower-case name, before it and at the login."""
        if self.in_batch:
            return self.mine if self.failed and self.discarded else {}
        if self.failed and not self.reported:
            return {}
        now = {**before, **{name.lower(): value for name, value in self.reported.items()}}
        # A reported one that is another than the server's own was set anew by the same text.
        return {
            name: value
            for name, value in self.mine.items()
            if name not in TRACKED or name not in usual or now.get(name) == usual.get(name)
        }
