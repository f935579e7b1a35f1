"""Prepared statements of the protocol in transaction mode: a client's names, mapped onto our own names on servers.

A statement is known by its text and parameter types, and by the context in which it was prepared: what the names in
it mean (search_path, role). Its name on servers never names anything else, so a client may meet it on any server:
where it is missing, Parse is sent again in the same write (PostgreSQL docs, 55.2.3).

PostgreSQL reads a text once, when it is prepared: a table, view, type or function that comes, goes or changes later
is not seen, or is an error. So when a client restructures what all see, none of the statements that stand is given to
anybody else: the next Parse of a text has it read anew.

PostgreSQL itself plans a statement anew when tables or the search_path have changed; only what it has told of the
result's columns must stay (0A000 `cached plan must not change result type`). So a statement that met this error is
retired: whoever has it learns of the error once, as from PostgreSQL, and has a new one under the same name then.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

from poolguard.core.errors import ClientViolation
from poolguard.wire.messages import message
from poolguard.wire.text import Kind, classify

PREFIX: Final = b"__poolguard_"
NOWHERE: Final = PREFIX + b"nowhere"
"""The name of a statement that there never is."""
_NAMED: Final = re.compile(rb'"(\??' + PREFIX + rb'[^"]*)"')
HOME: Final = b""
"""The context of a client that asked for no search_path or role of its own."""
_numbers = count(1)
_contexts = count(1)


_MEANING: Final = frozenset(("search_path", "role", "session_authorization"))


class Statement:
    """One text with its parameter types, for all clients of a pool."""

    __slots__ = ("__weakref__", "begins", "body", "close", "context", "name", "parse", "stale", "text", "verdict")

    def __init__(self, body: bytes, context: bytes = HOME) -> None:
        self.body: Final = body
        self.context: Final = context
        self.stale = False
        """Its columns have changed since some client heard of them."""
        self.name: Final = PREFIX + b"%d" % next(_numbers)
        self.parse: Final = message(b"P", self.name + b"\0" + body)
        self.close: Final = message(b"C", b"S" + self.name + b"\0")
        self.text: Final = body[: body.index(b"\0")][:8192]
        self.verdict: Final = classify(self.text)
        self.begins: Final = self.verdict.kind is Kind.BEGIN


def in_words_of(name_of: Callable[[bytes], bytes], body: bytes) -> bytes:
    """An error's *body* that names a statement as it is called on servers, with the name that *name_of* knows."""
    fields = [
        _NAMED.sub(lambda match: b'"' + name_of(match[1]) + b'"', field) if field[:1] == b"M" else field
        for field in body.split(b"\0")
    ]
    return b"\0".join(fields)


class Catalogue:
    """A pool's statements, each for as long as a client or a server has it."""

    def __init__(self) -> None:
        self._statements: WeakValueDictionary[Hashable, Statement] = WeakValueDictionary()

    def intern(self, body: bytes, context: bytes = HOME) -> Statement:
        """The statement of a Parse whose *body* (behind the name) is text, zero byte, types."""
        key = (context, body) if context else body
        found = self._statements.get(key)
        if found is None:
            found = self._statements[key] = Statement(body, context)
        return found

    def forget(self) -> None:
        """Give none out any more that stands: to those who have them they are what they were."""
        self._statements.clear()

    def retire(self, statement: Statement) -> None:
        """Give *statement* out no more: the next Parse of its text is another statement."""
        statement.stale = True
        key = (statement.context, statement.body) if statement.context else statement.body
        if self._statements.get(key) is statement:
            del self._statements[key]


class Known:
    """What one server has prepared, least recently used first. Bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[bytes, Statement] = OrderedDict()

    def __contains__(self, statement: Statement) -> bool:
        return statement.name in self._known

    def __len__(self) -> int:
        return len(self._known)

    def uses(self, statement: Statement) -> bool:
        """Mark *statement* as used last; False if it is not known."""
        try:
            self._known.move_to_end(statement.name)
        except KeyError:
            return False
        return True

    def use(self, statement: Statement) -> None:
        """Mark *statement*, which is known, as used last."""
        self._known.move_to_end(statement.name)

    def add(self, statement: Statement) -> None:
        """Take *statement* in; then `evict` until there is nothing to evict."""
        self._known[statement.name] = statement

    def evict(self) -> Statement | None:
        """Give up the least recently used if there are more than the bound: it is to be closed."""
        return self._known.popitem(last=False)[1] if len(self._known) > self._limit else None

    def restore(self, statement: Statement) -> None:
        """It was not closed after all: first in line to be closed, even beyond the bound."""
        self._known[statement.name] = statement
        self._known.move_to_end(statement.name, last=False)

    def forget(self, statement: Statement) -> None:
        """It was never prepared, or is closed."""
        self._known.pop(statement.name, None)

    def everything(self) -> OrderedDict[bytes, Statement]:
        """All of it, to be given to `restore_all` if what clears it is skipped."""
        return self._known.copy()

    def restore_all(self, known: OrderedDict[bytes, Statement]) -> None:
        """Nothing was cleared after all: an error came first."""
        self._known = known.copy()

    def clear(self) -> None:
        """DISCARD ALL, DEALLOCATE ALL."""
        self._known.clear()


def name_and_rest(body: bytes) -> tuple[bytes, bytes]:
    """Split off the first zero-terminated string. Raises ClientViolation if there is none."""
    name, zero, rest = body.partition(b"\0")
    if not zero:
        raise ClientViolation("a message has no zero byte behind its name")
    return name, rest


def context_of(parameters: Iterable[tuple[str, str]]) -> bytes:
    """The context that a client's own parameters at its login make; equal ones make the same."""
    return b"".join(f"{name}={value}\0".encode("utf-8", "replace") for name, value in parameters if name in _MEANING)


def own_context() -> bytes:
    """A context that nobody shares: something that is not known to poolguard says what names mean."""
    return b"%d" % next(_contexts)


def server_name(name: bytes) -> bytes:
    """A name that the client never prepared, such that it can't meet one of ours: PostgreSQL says 26000."""
    return b"?" + name if name.startswith(PREFIX) else name
