"""The fingerprint's reading of a statement against PostgreSQL's own lexer and parser, as libpg_query has them."""

import re
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poolguard.wire.fingerprint import fingerprint, normalise

pytest.importorskip("pglast", reason="the oracle of this test is not installed: pip install -e '.[dev]'")
from pglast import parser

MARKS: Final = [f"mark{letter}" for letter in "abcdefghij"]
PIECES: Final = [
    "'", "''", "E'", "\\", "$$", "$tag$", '"', '""', "--", "\n", "/*", "*/", " ", " ", ",", "(", ")", ";", "=", "-",
    "U&'", "x'", "1.5e3", "0x1f", "$1", "::", "||", ".",
]  # fmt: skip
TEXTS: Final = st.lists(st.sampled_from([*PIECES, *MARKS]), max_size=24).map("".join)


def tokens(sql: str) -> list[tuple[str, str]]:
    """What PostgreSQL's lexer makes of *sql*: name and text of each token."""
    try:
        found = parser.scan(sql)
    except parser.ParseError:
        assume(False)
        raise
    return [(token.name, sql[token.start : token.end + 1]) for token in found]


CONSTANTS: Final = {"SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST", "SQL_COMMENT", "C_COMMENT"}


@given(TEXTS)
def test_what_the_lexer_calls_a_constant_or_a_comment_never_survives_and_names_do(sql: str) -> None:
    inside: set[str] = set()
    outside: set[str] = set()
    for name, text in tokens(sql):
        for mark in MARKS:
            if mark in text.lower():
                (inside if name in CONSTANTS else outside).add(mark)
    text = normalise(sql)
    kept = {mark for mark in MARKS if mark in text}
    assert kept <= outside, "a literal or a comment survived"
    if "\\" not in sql:  # behind a backslash another server may read another way: what follows is left out
        assert kept == outside


NAMES: Final = st.sampled_from(["orders", "items", '"Order"', "users"])
COLUMNS: Final = st.sampled_from(["id", "name", '"a b"', "total"])
LITERALS: Final = st.one_of(
    st.integers(0, 10**6).map(str),
    st.text("abc'; -/*", max_size=6).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.text("ab;'", max_size=4).map(lambda text: f"$q${text}$q$"),
    st.just("$1"),
)
SPACE: Final = st.sampled_from([" ", "\n", "  ", " /* c */ ", " -- c\n", "\t"])
TEMPLATES: Final = [
    "select {c} from {t} where {c2} = {l}",
    "select {c}, {c2} from {t} where {c} in ({l}, {l2})",
    "insert into {t} ({c}, {c2}) values ({l}, {l2})",
    "update {t} set {c} = {l} where {c2} > {l2}",
    "delete from {t} where {c} = {l} and {c2} <> {l2}",
    "select {c} from {t} order by {c2} limit {l}",
]


@st.composite
def variants(draw: st.DrawFn) -> tuple[str, str]:
    """A statement, and the same with other literals, white space, comments and case."""
    template = draw(st.sampled_from(TEMPLATES))
    names = {"t": draw(NAMES), "c": draw(COLUMNS), "c2": draw(COLUMNS)}

    def one() -> str:
        literals = {"l": draw(LITERALS), "l2": draw(LITERALS)}
        if "limit" in template:
            literals["l"] = str(draw(st.integers(0, 999)))
        words = template.split(" ")
        words = [word.upper() if draw(st.booleans()) and "{" not in word else word for word in words]
        return draw(SPACE).join(words).format(**names, **literals)

    return one(), one()


@given(variants())
def test_statements_that_the_parser_finds_alike_share_one(pair: tuple[str, str]) -> None:
    one, other = pair
    assert parser.fingerprint(one) == parser.fingerprint(other)
    assert fingerprint(one).id == fingerprint(other).id


@given(variants(), variants())
def test_statements_that_share_one_are_alike_to_the_parser(pair: tuple[str, str], others: tuple[str, str]) -> None:
    if fingerprint(pair[0]).id == fingerprint(others[0]).id:
        assert parser.fingerprint(pair[0]) == parser.fingerprint(others[0])


@given(variants())
def test_a_normalised_text_normalises_to_itself(pair: tuple[str, str]) -> None:
    once = normalise(pair[0])
    assert re.sub(r"\?", "?", normalise(once)) == once
