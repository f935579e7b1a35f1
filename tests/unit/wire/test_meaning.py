"""What single statements leave behind, from their words."""

import pytest

from poolguard.wire.meaning import ALL_PARAMETERS, NOTHING, Pin, traces
from poolguard.wire.tokens import statements


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        (b"RESET ALL", {ALL_PARAMETERS}),
        (b"DISCARD ALL", {ALL_PARAMETERS}),
        (b"RESET TimeZone", {b"timezone"}),
        (b"RESET TIME ZONE", {b"timezone"}),
        (b'RESET "search_path"', {b"search_path"}),
        (b"RESET SESSION AUTHORIZATION", {b"session_authorization", b"role"}),
        (b"SET SESSION AUTHORIZATION DEFAULT", {b"session_authorization", b"role"}),
        (b"SET NAMES", {b"client_encoding"}),
        (b"SET work_mem = DEFAULT", {b"work_mem"}),
        (b"DISCARD PLANS", set()),
    ],
)
def test_a_reset_names_what_goes_back(sql: bytes, names: set[bytes]) -> None:
    """T8."""
    (words,) = statements(sql)
    assert traces(words, sql).resets == names


def test_one_statement_may_pin_for_several_reasons() -> None:
    """T10: each of them has to end before the pin does."""
    sql = b"SELECT setseed(0.5), pg_advisory_lock(1), lastval()"
    (words,) = statements(sql)
    assert traces(words, sql).pins == {Pin.SEED, Pin.ADVISORY_LOCK, Pin.SEQUENCE}


@pytest.mark.parametrize("sql", [b"SELECT f(1)", b"UPDATE t SET role = 1", b"COMMIT", b"SET LOCAL work_mem = 1"])
def test_what_leaves_nothing(sql: bytes) -> None:
    """T2."""
    (words,) = statements(sql)
    assert traces(words, sql) == NOTHING
