"""LISTEN and UNLISTEN as PostgreSQL reads them."""

import pytest

from poolguard.wire.subscriptions import Subscription
from poolguard.wire.text import Pin, classify

LISTEN, UNLISTEN = True, False


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (b"LISTEN a", [(LISTEN, b"a")]),
        (b"/* all */ listen JOBS ; -- of them", [(LISTEN, b"jobs")]),
        (b'LISTEN "Jobs"', [(LISTEN, b"Jobs")]),
        (b'LISTEN "a""b"', [(LISTEN, b'a"b')]),
        (b"UNLISTEN a", [(UNLISTEN, b"a")]),
        (b"UNLISTEN *", [(UNLISTEN, b"")]),
        (b"LISTEN a; UNLISTEN b", [(LISTEN, b"a"), (UNLISTEN, b"b")]),
        (b"LISTEN " + b"x" * 64, [(LISTEN, b"x" * 63)]),
        (b"LISTEN " + "ä".encode() * 32, [(LISTEN, "ä".encode() * 31)]),
    ],
)
def test_a_text_of_nothing_else_is_read(sql: bytes, found: list[tuple[bool, bytes]]) -> None:
    """A1: names are folded, unquoted and cut, never in the middle of a character."""
    assert classify(sql).subscribes == tuple(Subscription(*each) for each in found)


@pytest.mark.parametrize(
    "sql",
    [b"LISTEN", b"LISTEN *", b"LISTEN 1", b'LISTEN ""', b"LISTEN a b", b"SELECT 1; LISTEN a", b"BEGIN; LISTEN a", b"SELECT 1"],
)  # fmt: skip
def test_anything_else_subscribes_to_nothing(sql: bytes) -> None:
    """A1: what PostgreSQL refuses, or does beside, is left to PostgreSQL; a LISTEN in it pins."""
    assert classify(sql).subscribes == ()
    assert (classify(sql).pin is Pin.LISTEN) == (b"LISTEN" in sql)
