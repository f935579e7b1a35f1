"""Cutting a stream into messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import ClientViolation, ServerViolation
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.messages import message

frames = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=8)


@given(said=frames, cuts=st.lists(st.integers(0, 400)))
def test_any_cut_gives_the_same_messages(said: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """L1: a header split over reads, one byte at a time, many messages in one read."""
    stream = b"".join(message(bytes([tag]), body) for tag, body in said)
    splitter, got, last = FrameSplitter(max_body=40), [], 0
    for cut in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        got += splitter.feed(stream[last:cut])
        last = cut
    assert got == said
    assert splitter.rest() == b""


@pytest.mark.parametrize("length", [-1, 0, 3, 15, 2**31 - 1, -(2**31)])
def test_a_length_outside_of_the_limits_is_refused_before_anything_is_kept(length: int) -> None:
    """L7."""
    with pytest.raises(ClientViolation, match=rf"message length {length} is not in 4\.\.14"):
        FrameSplitter(max_body=10).feed(b"Q" + length.to_bytes(4, "big", signed=True))


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert FrameSplitter(max_body=10).feed(message(b"Q", bytes(10))) == [(ord("Q"), bytes(10))]


def test_blame_goes_to_whom_the_stream_comes_from() -> None:
    with pytest.raises(ServerViolation):
        FrameSplitter(max_body=10, blame=ServerViolation).feed(b"Z\0\0\0\0")


def test_the_rest_is_what_has_come_of_the_next_message_and_is_given_up_once() -> None:
    splitter = FrameSplitter(max_body=10)
    assert splitter.feed(message(b"S") + b"Q\0") == [(ord("S"), b"")]
    assert splitter.rest() == b"Q\0"
    assert splitter.rest() == b""
