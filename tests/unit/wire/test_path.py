"""A SET of search_path that can be said again."""

import pytest

from poolguard.wire.path import LONGEST, path_of


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (b"set search_path to public", "public"),
        (b'SET SESSION search_path TO "public"', '"public"'),
        (b'set search_path=\'$user\', "a""b" ,public ;', '\'$user\', "a""b" ,public'),
        (b"/* a */ -- b\n set\tsearch_path = 'it''s', '' ", "'it''s', ''"),
        (b"set search_path to " + b"a" * LONGEST, "a" * LONGEST),
    ],
)
def test_names_and_literals_are_kept_as_they_stand(sql: bytes, value: str) -> None:
    """T3, T5."""
    assert path_of(sql) == value


@pytest.mark.parametrize(
    "sql",
    [
        b"set search_path to default",
        b"set search_path to",
        b"set search_path to a,",
        b"set search_path to 'a' 'b'",
        b"set search_path to e'a'",
        b"set search_path to 'a\\b'",
        b"set search_path to 'a",
        b'set search_path to ""',
        b'set search_path to U&"a"',
        "set search_path to 'ä'".encode(),
        b"set search_path to $$a$$",
        b"set search_path to 1",
        b"set search_path to a b",
        b"set search_path to a; select 1",
        b"set search_path to a -- no end of the line",
        b"set search_path to a /* in /* a */ comment */",
        b"set local search_path to a",
        b"set search_paths to a",
        b"set search_path to " + b"a" * (LONGEST + 1),
    ],
)
def test_anything_else_is_no_value(sql: bytes) -> None:
    """T3, S8: neither what PostgreSQL would refuse, nor what settings of the session give another meaning."""
    assert path_of(sql) is None
