"""The extended protocol's messages from a client, read strictly (PostgreSQL docs, 55.7). Pure.

Each raises ClientViolation (08P01) for a body that is malformed.
"""

from dataclasses import dataclass

from poolguard.console.encoding import BINARY, TEXT
from poolguard.core.errors import ClientViolation


@dataclass(frozen=True, slots=True)
class Bind:
    """A portal that is to be made."""

    portal: str
    statement: str
    formats: tuple[int, ...]
    """Of the result's columns: none (all text), one for all, or one for each."""

    def formats_of(self, columns: int) -> tuple[int, ...]:
        """One format code for each of *columns*. Raises ClientViolation if they were given for another number."""
        if len(self.formats) == columns:
            return self.formats
        if len(self.formats) > 1:
            raise ClientViolation(
                f"bind message has {len(self.formats)} result formats but query has {columns} columns"
            )
        return (self.formats[0] if self.formats else TEXT,) * columns


class _Reader:
    """A body that is read from its beginning."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def text(self) -> str:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise ClientViolation("invalid string in message")
        text = self._body[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return text

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "big")

    def raw(self, size: int) -> bytes:
        if self._at + size > len(self._body):
            raise ClientViolation("insufficient data left in message")
        raw = self._body[self._at : self._at + size]
        self._at += size
        return raw

    def end(self) -> None:
        if self._at != len(self._body):
            raise ClientViolation("invalid message format")


def read_query(body: bytes) -> str:
    """The text of a simple Query."""
    reader = _Reader(body)
    text = reader.text()
    reader.end()
    return text


def read_parse(body: bytes) -> tuple[str, str]:
    """A statement's name and text. Types of parameters are passed over: there are none to have them."""
    reader = _Reader(body)
    name, text = reader.text(), reader.text()
    reader.raw(4 * reader.number(2))
    reader.end()
    return name, text


def read_bind(body: bytes) -> Bind:
    """What is bound. Raises ClientViolation also for parameters: no statement of the console has any."""
    reader = _Reader(body)
    portal, statement = reader.text(), reader.text()
    reader.raw(2 * reader.number(2))
    if given := reader.number(2):
        raise ClientViolation(f"bind message supplies {given} parameters, but the prepared statement requires 0")
    formats = tuple(reader.number(2) for _ in range(reader.number(2)))
    reader.end()
    if not {TEXT, BINARY}.issuperset(formats):
        raise ClientViolation("unsupported format code: there are 0 (text) and 1 (binary)")
    return Bind(portal, statement, formats)


def read_named(body: bytes) -> tuple[bool, str]:
    """The body of Describe and Close: whether it is about a portal, not a statement, and its name."""
    reader = _Reader(body)
    kind, name = reader.raw(1), reader.text()
    reader.end()
    if kind not in (b"P", b"S"):
        raise ClientViolation("neither a portal nor a statement is meant")
    return kind == b"P", name


def read_execute(body: bytes) -> tuple[str, int]:
    """A portal's name, and how many rows are wanted; 0: all."""
    reader = _Reader(body)
    name, most = reader.text(), reader.number(4)
    reader.end()
    return name, most
