"""~/.pgpass: PostgreSQL docs, 34.16."""

import pytest

from poolguard.upstream.passfile import PassEntry, find_password, parse_passfile

FILE = r"""
# a comment
too:few:fields:here
db.example:5432:shop:app:first
db.example:*:*:app:second
*:*:*:odd\:user:with\:colon\\and:ignored
\*:*:*:star:literal
/tmp:*:*:empty:
"""


@pytest.mark.parametrize(
    ("host", "port", "database", "user", "password"),
    [
        ("db.example", 5432, "shop", "app", "first"),
        ("db.example", 5433, "shop", "app", "second"),
        ("db.example", 5432, "other", "app", "second"),
        ("other", 5432, "shop", "app", None),
        ("anything", 1, "x", "odd:user", "with:colon\\and"),
        ("*", 1, "x", "star", "literal"),
        ("host", 1, "x", "star", None),
        ("/tmp", 1, "x", "empty", None),
    ],
)
def test_the_first_line_that_fits_counts(host: str, port: int, database: str, user: str, password: str | None) -> None:
    entries = parse_passfile(FILE)
    assert find_password(entries, host=host, port=port, database=database, user=user) == password


@pytest.mark.parametrize("line", ["", "#a:b:c:d:e", "a:b:c:d", "word"])
def test_lines_that_say_nothing_are_skipped(line: str) -> None:
    assert PassEntry.parse(line) is None


def test_a_backslash_at_the_end_stays() -> None:
    entry = PassEntry.parse("*:*:*:*:end\\")
    assert entry is not None
    assert entry.password == "end\\"


def test_no_password_shows_in_a_repr() -> None:
    assert "first" not in repr(parse_passfile(FILE))
