import struct

from poolguard.console.encoding import BINARY, PORTAL_SUSPENDED, TEXT, Column, Kind, data_row, row_description

COLUMNS = (Column("name"), Column("size", Kind.INT8), Column("age", Kind.FLOAT8))


def test_a_row_description_tells_name_type_and_format() -> None:
    told = row_description(COLUMNS[:2], (TEXT, BINARY))
    assert told[:1] == b"T"
    assert int.from_bytes(told[1:5], "big") == len(told) - 1
    assert told[5:] == (
        b"\0\2"
         b"name\0" + bytes(6) + (25).to_bytes(4, "big") + b"\xff\xff" + b"\xff" * 4 + b"\0\0"
        + b"size\0" + bytes(6) + (20).to_bytes(4, "big") + b"\0\x08" + b"\xff" * 4 + b"\0\1"
    )  # fmt: skip


def test_a_row_in_text() -> None:
    told = data_row(COLUMNS, (TEXT,) * 3, ("ä", 20, 1.5))
    assert told[5:] == b"\0\3" + b"\0\0\0\2" + "ä".encode() + b"\0\0\0\x0220" + b"\0\0\0\x031.5"


def test_a_row_in_binary() -> None:
    told = data_row(COLUMNS, (BINARY,) * 3, ("a", -1, 1.5))
    assert told[5:] == b"\0\3" + b"\0\0\0\1a" + b"\0\0\0\x08" + b"\xff" * 8 + b"\0\0\0\x08" + struct.pack("!d", 1.5)


def test_what_is_not_known_is_null_in_both() -> None:
    for code in (TEXT, BINARY):
        assert data_row(COLUMNS, (code,) * 3, (None, None, None))[5:] == b"\0\3" + b"\xff" * 12


def test_no_text_can_end_a_driver() -> None:
    assert data_row(COLUMNS[:1], (TEXT,), ("a\0b\udcff",))[5:] == b"\0\1\0\0\0\3ab?"


def test_a_suspended_portal_is_an_empty_message() -> None:
    assert PORTAL_SUSPENDED == b"s\0\0\0\4"
