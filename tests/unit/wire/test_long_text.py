"""Long texts are searched, in bounded time, and err to the safe side."""

import time

import pytest

from poolguard.wire.long_text import READ_LIMIT, UNREAD, search
from poolguard.wire.meaning import Pin, Traces

LONG = b"INSERT INTO t VALUES ('" + b"word; " * READ_LIMIT + b"')"


def pins(found: list[Traces]) -> set[Pin]:
    return {pin for each in found for pin in each.pins}


def test_a_long_text_of_data_leaves_nothing() -> None:
    assert pins(search(LONG)) == set()


@pytest.mark.parametrize(
    ("end", "pin"),
    [
        (b"; SET a = 1", Pin.SET),
        (b"; -- so\n SET a = 1", Pin.SET),
        (b";/* so */ SET ROLE a", Pin.ROLE),
        (b"; SELECT pg_advisory_lock(1)", Pin.ADVISORY_LOCK),
        (b"; DECLARE c CURSOR FOR SELECT 1", Pin.HOLD),
        (b"; CREATE --\n TEMP TABLE a ()", Pin.TEMPORARY),
        (b"; SET LOCAL a = 1" * 100, Pin.UNREAD),
        (b";/*" + b"x" * 20_000 + b"*/ SET a = 1", Pin.UNREAD),
        (b';SELECT U&"\\0061"', Pin.UNREAD),
    ],
)
def test_what_stands_behind_its_beginning_is_found(end: bytes, pin: Pin) -> None:
    """T4, T5, T10."""
    assert pin in pins(search(LONG + end))


def test_a_statement_that_the_beginning_cuts_off_is_found() -> None:
    """T4."""
    for missing in range(1, 12):
        assert pins(search(b"x" * (READ_LIMIT - missing) + b"; SET a = 1")) == {Pin.SET}


def test_what_was_not_read_counts_as_leaving_everything() -> None:
    assert UNREAD.pins
    assert UNREAD.resets
    assert UNREAD.forgets
    assert UNREAD.strays


@pytest.mark.parametrize(
    "piece",
    [b";", b"; ", b";/*", b";--", b";/**/", b"; ;\n", b"temp ", b"a temp", b";set local x=1", b"/*", b"'", b"("],
)
def test_hostile_texts_take_no_longer_than_friendly_ones(piece: bytes) -> None:
    """L7: 4 MB of each; what is bounded here is the work, not this machine's speed."""
    began = time.process_time()
    search(piece * (4_000_000 // len(piece)))
    assert time.process_time() - began < 0.5
