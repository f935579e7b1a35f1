"""Texts cut into statements and words."""

import pytest

from poolguard.wire.tokens import statements


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (b"", []),
        (b" ; -- a;b\n ;", []),
        (b"SELECT 'a;b', \"C;D\"", [[b"select", b"'", b",", b'"C;D']]),
        (b"a $$ ; $$ b;c", [[b"a", b"'", b"b"], [b"c"]]),
        (b"a $x$ $$ ; $x$;b", [[b"a", b"'"], [b"b"]]),
        (b"/* a /* b */ ; */ c", [[b"c"]]),
        (b"E'\\';' a", [[b"'", b"a"]]),
        (b"'\\'; a", [[b"'"], [b"a"]]),
        (b'"a""b"', [[b'"a"b']]),
    ],
)
def test_statements_are_cut_where_postgresql_cuts_them(sql: bytes, words: list[list[bytes]]) -> None:
    """Q2, T4, T5."""
    assert statements(sql) == words


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b'U&"\\0070g"', b'"pg'),
        (b'u&"\\+000070g"', b'"pg'),
        (b'U&"a\\\\b"', b'"a\\b'),
        (b'U&"\\ff"', b'"\\ff'),
        (b'U&"\\+ffffff"', b'"\\+ffffff'),
    ],
)
def test_a_name_with_escapes_is_the_name_that_it_spells(sql: bytes, name: bytes) -> None:
    """T10: PostgreSQL docs, 4.1.1."""
    assert statements(sql) == [[name]]
