"""When a statement may be sent a second time without its client knowing. Pure.

Automatic retries can't be correct in general (PostgreSQL docs, 13.5). One case can be argued for: a single statement
outside of any transaction that PostgreSQL refused with deadlock_detected or serialization_failure, before its client
has been told anything. Its implicit transaction left nothing behind, and the client still waits, so that another try
looks to it like a longer wait for a lock. What remains: gaps in sequences, session advisory locks and calls to the
outside that the statement made, and values that the application worked out before (that risk is there without retries).
"""

from typing import Final, NamedTuple

from poolguard.relay.pipe import IDLE, length_at
from poolguard.wire.fingerprint import STATEMENT_BYTES, TEXT_BYTES, normalise

RETRIED: Final = {b"40P01": "40P01", b"40001": "40001"}
"""deadlock_detected, serialization_failure."""

LONGEST_REPLY: Final = 8192
_BEFORE: Final = b"12ntT"
"""Completions of Parse and Bind, and descriptions: PostgreSQL sends them together with what follows."""
_ERROR, _READY = b"EZ"
_QUERY, _PARSE, _BIND, _EXECUTE = b"QPBE"
_LONE_BATCHES: Final = frozenset({b"PBES", b"PBDES", b"BES", b"BDES"})
LONGEST_BATCH: Final = 5
_LOCKING: Final = (" for update", " for share", " for no key update", " for key share")


def may_repeat(sql: bytes) -> bool:
    """Whether *sql* is one INSERT, UPDATE, DELETE, MERGE or SELECT ... FOR UPDATE or SHARE, and nothing else."""
    if len(sql) >= STATEMENT_BYTES:
        return False  # what comes behind the part that is known could be anything
    text = normalise(sql)
    if ";" in text or len(text) >= TEXT_BYTES - 3:
        return False
    first = text.partition(" ")[0]
    return first in {"insert", "update", "delete", "merge"} or (
        first == "select" and any(lock in text for lock in _LOCKING)
    )


def is_one_statement(data: bytes) -> bool:
    """Whether a plain batch executes once, without a limit on rows. *data* is whole messages."""
    position, binds, executes = 0, 0, 0
    while position + 5 <= len(data):
        end = position + 1 + length_at(data, position + 1)[0]
        if data[position] == _BIND:
            binds += 1
        elif data[position] == _EXECUTE:
            executes += 1
            if data[end - 4 : end] != b"\0\0\0\0":
                return False
        position = end
    return binds == executes == 1


def is_error(reply: bytes) -> bool:
    """Whether *reply* refuses the statement: an error comes first, or behind completions."""
    position, size = 0, len(reply)
    while size - position >= 5 and reply[position] in _BEFORE:
        position += 1 + length_at(reply, position + 1)[0]
    return position < size and reply[position] == _ERROR


class Lone(NamedTuple):
    """One statement that is said with nothing before or behind it."""

    sql: bytes
    """Its text; empty for one that was prepared."""
    name: bytes = b""
    """Its name, if it was prepared."""


def lone_statement(data: bytes) -> Lone | None:
    """What *data* is, if it is one Query or one batch that runs one statement; None for anything else.

    A batch that gives a statement its name is none: the second time the name would be there already.
    """
    size = len(data)
    if size > 5 and data[0] == _QUERY:
        return Lone(data[5:-1]) if length_at(data, 1)[0] == size - 1 else None
    position, tags, lone = 0, b"", None
    while size - position >= 5 and len(tags) < LONGEST_BATCH:
        tag, end = data[position], position + 1 + length_at(data, position + 1)[0]
        if not position + 5 <= end <= size:
            return None
        strings = data[position + 5 : end].split(b"\0", 2)
        if tag in (_PARSE, _BIND) and len(strings) < 3:
            return None
        if tag == _PARSE:
            if strings[0]:
                return None
            lone = Lone(strings[1])
        elif tag == _BIND:
            if bool(strings[1]) == (lone is not None):
                return None  # not the statement that stands before it, or none of its name
            lone = lone or Lone(b"", strings[1])
        tags += data[position : position + 1]
        position = end
    return lone if position == size and tags in _LONE_BATCHES else None


def without_prefix(data: bytes, *, is_batch: bool) -> bytes:
    """The client's own part of *data*: queries of poolguard's may stand before it."""
    position = 0
    while data[position] == _QUERY:
        end = position + 1 + length_at(data, position + 1)[0]
        if end == len(data) and not is_batch:
            break
        position = end
    return data[position:]


class Answer(NamedTuple):
    """What an answer is so far."""

    sqlstate: str | None
    """Of a refusal that another try may heal; None for any other answer, which goes to the client."""
    complete: bool
    """PostgreSQL sends the error at once, and ReadyForQuery behind it: often in two pieces."""


def read_answer(reply: bytes) -> Answer:
    """Judge *reply*, whole messages: a refusal has no row before it, and ends outside of a transaction."""
    position, size, code = 0, len(reply), None
    while position + 5 <= size <= LONGEST_REPLY:
        tag, end = reply[position], position + 1 + length_at(reply, position + 1)[0]
        if tag == _READY:
            refused = end == size and reply[-1] == IDLE
            return Answer(code if refused else None, complete=True)
        if tag == _ERROR and code is None:
            body = reply[position + 5 : end]
            place = body.find(b"\0C")
            code = RETRIED.get(body[place + 2 : place + 7])
            if code is None:
                return OTHER
        elif tag not in _BEFORE:
            return OTHER
        position = end
    return Answer(code, complete=False) if position == size else OTHER


OTHER: Final = Answer(None, complete=True)
