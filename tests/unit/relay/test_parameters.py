"""Run-time parameters: interned sets, and the SQL between two of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.relay.parameters import NONE, parameter_set, quote, switch

_LITERAL = re.compile(r"E'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"''|\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)


def read(literal: str) -> bytes:
    """What PostgreSQL reads in an E'' literal (docs, 4.1.2.2), in UTF-8."""
    match = _LITERAL.fullmatch(literal)
    assert match is not None, "more or less than one literal"

    def meaning(escape: re.Match[str]) -> str:
        code = escape[1]
        if code is None:
            return "'"
        if code[0] == "x" and len(code) == 3:
            return chr(0xDC00 + int(code[1:], 16))
        return chr(int(code[1:], 16)) if code[0] in "uU" and len(code) > 1 else code

    return _ESCAPE.sub(meaning, match[1]).encode("utf-8", "surrogateescape")


def test_equal_sets_are_the_same_object() -> None:
    one = parameter_set({"TimeZone": "UTC", "DateStyle": "ISO"})
    assert parameter_set({"datestyle": "ISO", "timezone": "UTC"}) is one
    assert parameter_set({"timezone": "UTC"}) is not one
    assert parameter_set({}) is NONE


def test_a_changed_set_differs_in_one_parameter_whatever_its_case() -> None:
    one = parameter_set({"timezone": "UTC", "datestyle": "ISO"})
    changed = one.changed("TimeZone", "Asia/Tokyo")
    assert dict(changed.items) == {"timezone": "Asia/Tokyo", "datestyle": "ISO"}
    assert changed.changed("timezone", "UTC") is one


def test_like_takes_one_parameter_from_another_set_or_drops_it() -> None:
    login = parameter_set({"timezone": "UTC"})
    now = parameter_set({"timezone": "Asia/Tokyo", "datestyle": "ISO"})
    assert dict(now.like(login, "TimeZone").items) == {"timezone": "UTC", "datestyle": "ISO"}
    assert dict(now.like(login, "DateStyle").items) == {"timezone": "Asia/Tokyo"}


def test_a_server_that_has_what_is_wanted_is_told_nothing() -> None:
    wanted = parameter_set({"timezone": "UTC"})
    assert switch(wanted, wanted) == ""
    assert switch(NONE, NONE) == ""


def test_switching_sets_what_differs_and_resets_what_is_gone() -> None:
    sql = switch(parameter_set({"a": "1", "b": "2"}), parameter_set({"b": "3", "c": "4"}))
    assert sql == "RESET \"a\";SELECT pg_catalog.set_config(E'b',E'3',false),pg_catalog.set_config(E'c',E'4',false)"


def test_a_server_of_which_nothing_is_known_is_reset_first() -> None:
    """T8: by RESET ALL alone it would still act for somebody else's role."""
    everything = "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL"
    assert switch(None, NONE) == everything
    assert switch(None, parameter_set({"a": "1"})) == everything + ";SELECT pg_catalog.set_config(E'a',E'1',false)"


def test_a_name_that_is_reset_cannot_end_its_quotes() -> None:
    assert switch(parameter_set({'a";drop table t;--': "1"}), NONE) == 'RESET "a"";drop table t;--"'


@pytest.mark.parametrize("value", ["'", "\\", "\\'", "'; DROP TABLE t; --", "x\\\\'", "ü€😀", "\udc80\udcff'"])
def test_a_quoted_value_survives(value: str) -> None:
    assert read(quote(value)) == value.encode("utf-8", "surrogateescape")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_value_is_one_ascii_literal_that_reads_the_same(value: str) -> None:
    assert quote(value).isascii()
    assert read(quote(value)) == value.encode()


@given(st.binary().map(lambda raw: raw.replace(b"\0", b"")))
def test_bytes_that_are_no_utf8_survive(raw: bytes) -> None:
    assert read(quote(raw.decode("utf-8", "surrogateescape"))) == raw
