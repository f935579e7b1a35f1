"""Rows as PostgreSQL's messages (PostgreSQL docs, 55.7): RowDescription and DataRow, in text and binary. Pure."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from poolguard.wire.messages import message

Value = str | int | float | None

PORTAL_SUSPENDED: Final = message(b"s")
TEXT: Final = 0
BINARY: Final = 1
"""Format codes."""

_SHORT: Final = struct.Struct("!H")
_LENGTH: Final = struct.Struct("!i")
_NULL: Final = _LENGTH.pack(-1)
_FIELD: Final = struct.Struct("!IHIhiH")
"""Table, attribute, type, its size, modifier, format."""


class Kind(Enum):
    """The type of a column: its oid in pg_type, and its size."""

    TEXT = (25, -1)
    INT8 = (20, 8)
    FLOAT8 = (701, 8)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer."""

    name: str
    kind: Kind = Kind.TEXT


def row_description(columns: Sequence[Column], formats: Sequence[int]) -> bytes:
    """RowDescription; *formats* has one code for each column."""
    fields = [
        column.name.encode() + b"\0" + _FIELD.pack(0, 0, column.kind.value[0], column.kind.value[1], -1, code)
        for column, code in zip(columns, formats, strict=True)
    ]
    return message(b"T", _SHORT.pack(len(fields)) + b"".join(fields))


def data_row(columns: Sequence[Column], formats: Sequence[int], row: Sequence[Value]) -> bytes:
    """DataRow."""
    cells = [_cell(column.kind, code, value) for column, code, value in zip(columns, formats, row, strict=True)]
    return message(b"D", _SHORT.pack(len(cells)) + b"".join(cells))


def _cell(kind: Kind, code: int, value: Value) -> bytes:
    if value is None:
        return _NULL
    if code == BINARY and kind is Kind.INT8:
        raw = struct.pack("!q", value)
    elif code == BINARY and kind is Kind.FLOAT8:
        raw = struct.pack("!d", value)
    else:
        # A zero byte can't be in a text of PostgreSQL's, and what isn't UTF-8 would end the driver.
        raw = str(value).replace("\0", "").encode("utf-8", "replace")
    return _LENGTH.pack(len(raw)) + raw
