"""Building and reading single messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import PoolExhausted, ServerViolation
from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def body(data: bytes) -> bytes:
    """The body of the one message in *data*."""
    ((_, found),) = FrameSplitter(max_body=2**20).feed(data)
    return found


@pytest.mark.parametrize(
    ("built", "bytes_"),
    [
        (messages.READY[b"T"[0]], b"Z\0\0\0\5T"),
        (messages.SYNC, b"S\0\0\0\4"),
        (messages.TERMINATE, b"X\0\0\0\4"),
        (messages.AUTHENTICATION_OK, b"R\0\0\0\x08\0\0\0\0"),
        (messages.NO_PARAMETERS, b"t\0\0\0\6\0\0"),
        (messages.command_complete("BEGIN"), b"C\0\0\0\x0aBEGIN\0"),
        (messages.query("SELECT 1"), b"Q\0\0\0\rSELECT 1\0"),
        (messages.query(b"\xff"), b"Q\0\0\0\6\xff\0"),
        (messages.backend_key_data(7, b"abcd"), b"K\0\0\0\x0c\0\0\0\7abcd"),
        (messages.authentication_sasl(["A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"),
        (messages.authentication_sasl_continue(b"x"), b"R\0\0\0\x09\0\0\0\x0bx"),
        (messages.authentication_sasl_final(b"x"), b"R\0\0\0\x09\0\0\0\x0cx"),
        (messages.negotiate_protocol_version(3 << 16 | 2, ["_pq_.a"]), b"v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.a\0"),
        (messages.password_message(b"pw"), b"p\0\0\0\7pw\0"),
        (messages.sasl_initial_response("M", b"x"), b"p\0\0\0\x0bM\0\0\0\0\1x"),
        (messages.sasl_response(b"x"), b"p\0\0\0\5x"),
        (messages.copy_fail("no"), b"f\0\0\0\7no\0"),
    ],
)
def test_messages_are_laid_out_as_the_manual_says(built: bytes, bytes_: bytes) -> None:
    assert built == bytes_


@given(name=text, value=text)
def test_a_parameter_comes_back_as_it_went(name: str, value: str) -> None:
    assert messages.parameter_of(body(messages.parameter_status(name, value))) == (name, value)


def test_bytes_of_a_parameter_that_are_no_utf8_survive() -> None:
    assert body(messages.parameter_status(*messages.parameter_of(b"a\0caf\xe9\0"))) == b"a\0caf\xe9\0"


@pytest.mark.parametrize("broken", [b"", b"name", b"name\0value", b"name\0value\0more\0", b"name\0"])
def test_a_parameter_that_is_not_two_strings_is_the_servers_violation(broken: bytes) -> None:
    with pytest.raises(ServerViolation):
        messages.parameter_of(broken)


@given(message=text, detail=text, hint=text)
def test_an_error_comes_back_with_its_fields(message: str, detail: str, hint: str) -> None:
    built = body(messages.error_response("53300", message, detail=detail, hint=hint))
    wanted = {"S": "ERROR", "V": "ERROR", "C": "53300", "M": message, "D": detail, "H": hint}
    assert messages.error_fields(built) == wanted


def test_empty_fields_are_left_out() -> None:
    assert set(messages.error_fields(body(messages.notice_response("01000", "careful")))) == set("SVCM")


def test_an_error_of_ours_carries_its_code_detail_and_hint() -> None:
    error = PoolExhausted("full", detail="by them", hint="wait")
    fields = messages.error_fields(body(messages.error_of(error, severity="FATAL")))
    assert fields == {"S": "FATAL", "V": "FATAL", "C": "53300", "M": "full", "D": "by them", "H": "wait"}


@given(st.binary())
def test_reading_an_errors_fields_never_raises(body_: bytes) -> None:
    """A2: fields are only looked at; what is not one is passed over."""
    assert all(len(key) == 1 for key in messages.error_fields(body_))
