"""Fingerprints: no literal ever survives, and statements of one kind share one."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolguard.wire.fingerprint import (
    CACHED,
    MAX_TAG_KEY,
    MAX_TAG_VALUE,
    MAX_TAGS,
    STATEMENT_BYTES,
    TEXT_BYTES,
    comment_tags,
    fingerprint,
    has_marker,
    normalise,
    statement_text,
)
from poolguard.wire.fingerprint import _fingerprint as cached_fingerprint

SECRET = "hunter"
NUMBER = "918273645"


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT  *\n FROM Users;", "select * from users"),
        ('select "Quoted ""Name""" from "T"', 'select "Quoted ""Name""" from "T"'),
        ("select 'it''s' || E'it\\'s'", "select ? || ?"),
        ("select e'\\\\' , 1", "select ?, ?"),
        ("select 'a'\n  'b', 2", "select ?, ?"),
        ("select 'a' -- why\n -- so\n 'b', 2", "select ?, ?"),
        ("select E'a'\n'b\\'c', 2", "select ?, ?"),
        ("select 'a' 'b'", "select ? ?"),
        ("select $$a$b$$, $t$ $$ $x$ $t$, $1", "select ?, ?, ?"),
        ("select foo$bar$baz, $1", "select foo$bar$baz, ?"),
        ("select B'01', x'fF', N'n', U&'\\0061' UESCAPE '!', U&\"a\"", 'select ?, ?, ?, ? uescape ?, U&"a"'),
        ("select 1, 1.5, .5, 1., 1e10, 1.5e-3, 0xFF, 0o17, 0b11, 1_000", f"select {', '.join('?' * 10)}"),
        ("select /* a /* nested */ b */ 1 -- end", "select ?"),
        ("select a.b, t1.c2 from s.t1", "select a.b, t1.c2 from s.t1"),
        ("select '2020-01-01'::date, date '2020-01-01'", "select ?::date, date ?"),
        ("select a-1, -1, a = -1, a=-1, f(-1), a*-1", "select a - ?, ?, a = ?, a = ?, f(?), a * ?"),
        ("select a--1\n+2", "select a + ?"),
        ("select 3/*x*/-/*y*/2", "select ? - ?"),
        ("select data->>'k', a @> b, a <-> b, a ? 'k'", "select data ->> ?, a @> b, a <-> b, a ? ?"),
        ("select count ( * ), now()", "select count(*), now()"),
        ("where id IN(1,2 , 3)", "where id in (...)"),
        ("where id in ('a'::uuid, null, $3)", "where id in (...)"),
        ("where id in (select 1)", "where id in (select ?)"),
        ("select ARRAY[1,2]::int[]", "select array[...]::int[]"),
        ("insert into t (a,b) values (1,'x'),(2, $1)", "insert into t(a, b) values (...)"),
        ("insert into t values (now(), 1), (now(), 2)", "insert into t values (now(), ?)"),
        ("where a like 'x' escape '\\' and b = 1", "where a like ? escape ? and b = ?"),
        ("SET search_path TO tenant_1, public; select 1", "set search_path to ?; select ?"),
        ("set local app.key = verysecret", "set local app.key = ?"),
        ("alter role bob set app.key to verysecret", "alter role bob set app.key to ?"),
        ("update t set a = b where c = 1", "update t set a = b where c = ?"),
        ("SELECT É, Ä FROM t", "select É, Ä from t"),
        ("select 'cut off", "select ?"),
        ("select E'cut\\", "select ?"),
        ("select $t$cut", "select ?"),
        ('select "cut', "select ?"),
        ("select /* cut", "select"),
        ("select a, 1", "select a, ?"),
        ("", ""),
        ("-- nothing", ""),
        (";;", ""),
    ],
)
def test_a_statement_is_said_without_its_literals(sql: str, text: str) -> None:
    assert normalise(sql) == text
    assert normalise(sql.encode()) == text


def test_a_literal_that_another_server_would_end_elsewhere_ends_the_text() -> None:
    """standard_conforming_strings off: the string goes on to the next quote."""
    assert normalise(rf"select 'a\', {SECRET}', b") == "select ?"


def test_a_literal_that_another_encoding_would_end_elsewhere_ends_the_text() -> None:
    """0x83 0x5C is one character in SJIS, so the quote behind it ends the string."""
    assert normalise(b"select E'\x83\\', '" + SECRET.encode() + b"'") == "select ?"


def test_zero_byte_ends_the_statement() -> None:
    assert normalise(b"select 1\0" + SECRET.encode()) == "select ?"


LITERALS = st.sampled_from(
    [
        f"'{SECRET}'",
        f"'it''s -- {SECRET} /* $$ \" '",
        f"''''||'{SECRET}'",
        f"E'\\'{SECRET}\\\\'",
        f"e'{SECRET}'' {SECRET}\\''",
        f"'a'\n '{SECRET}'",
        f"E'a' -- '\n '\\'{SECRET}'",
        f"$${SECRET}'$$",
        f"$tag$ $$ ' {SECRET} $ta$ $tag$",
        f"U&'{SECRET}'",
        f"N'{SECRET}'",
        f"x'{NUMBER}'",
        f"B'{NUMBER}'",
        NUMBER,
        f"-{NUMBER}.{NUMBER}e-{NUMBER}",
        f".{NUMBER}",
        f"0x{NUMBER}",
        f"{NUMBER}_{NUMBER}",
        f"/* ' {SECRET} /* \" {NUMBER} */ */",
        f"-- ' $$ {SECRET}\n",
    ]
)
CODE = st.sampled_from(
    [
        " ",
        "\n",
        "\t",
        ", ",
        " = ",
        "=",
        "<>",
        " (",
        ") ",
        "[",
        "]",
        "::text ",
        " || ",
        " select ",
        " in ",
        " values ",
        " x1 ",
        ' "a""b--" ',
        ' "it\'s" ',
        " a$b$ ",
        " f(",
        ";",
        " $1 ",
        "->>",
        " set a = ",
        " é ",
        ".",
    ]
)


@given(st.lists(st.tuples(CODE, LITERALS), max_size=12), st.integers(0, 400))
@example([(" ", f"'{SECRET}'")] * 2, 14)
def test_no_literal_survives_wherever_the_statement_is_cut(parts: list[tuple[str, str]], cut: int) -> None:
    sql = "".join(code + literal + " " for code, literal in parts).encode()
    for text in (normalise(sql), normalise(sql[:cut]), fingerprint(sql).text):
        assert SECRET not in text
        assert NUMBER not in text


@given(
    st.one_of(
        st.binary(max_size=300), st.text(max_size=300), st.text(alphabet="'\"$/*-\\eEu&x \n(),;a1.:", max_size=200)
    )
)
@example("\ud800'")
@example("'" * STATEMENT_BYTES)
@example("/*" * STATEMENT_BYTES)
@example(b"\xff" * STATEMENT_BYTES)
def test_any_input_has_a_bounded_text_of_one_line(sql: bytes | str) -> None:
    text, (identity, shown) = normalise(sql), fingerprint(sql)
    assert shown == text
    assert len(text.encode()) <= TEXT_BYTES
    assert not re.search(r"[\x00-\x1f\x7f]", text)
    assert re.fullmatch(r"[0-9a-f]{16}", identity)
    comment_tags(sql)
    has_marker(sql, "poolguard:ignore")


@given(st.lists(st.sampled_from([" ", "\n", "\t ", "/* x */", " -- y\n"]), min_size=6, max_size=6))
def test_white_space_comments_and_case_make_no_difference(gaps: list[str]) -> None:
    words = ["SELECT", "a", "FROM", "t", "WHERE", "b", "= 1"]
    sql = "".join(word + gap for word, gap in zip(words, [*gaps, ""], strict=True))
    assert fingerprint(sql) == fingerprint("select A from T where B=2")


def test_statements_of_different_kinds_differ() -> None:
    assert fingerprint("select a from t").id != fingerprint("select b from t").id
    assert fingerprint('select "A" from t').id != fingerprint('select "a" from t').id


def test_id_is_the_same_in_every_process() -> None:
    assert fingerprint(b"select 1") == ("b9a4c90ce4157373", "select ?")


def test_ids_tell_long_statements_apart_whose_shown_texts_agree() -> None:
    head = "select " + ", ".join(f"some_long_column_name_{name}" for name in "abcdefghij" * 12)
    one, other = fingerprint(f"{head} from t where a = 1"), fingerprint(f"{head} from t where b = 1")
    assert one.text == other.text
    assert one.text.endswith("...")
    assert one.id != other.id


@pytest.mark.parametrize("form", ["insert into t values {}", "select 1 where a in ({})"])
def test_long_lists_share_a_fingerprint_wherever_they_are_cut(form: str) -> None:
    row = "({}, 'x')" if "values" in form else "{}"
    kinds = {fingerprint(form.format(", ".join([row.format("1" * width)] * 3000))).id for width in range(1, 12)}
    assert len(kinds) == 1


def test_the_cache_is_bounded() -> None:
    for number in range(CACHED + 10):
        fingerprint(f"select {number}")
    assert cached_fingerprint.cache_info().currsize == CACHED


@pytest.mark.parametrize(
    ("body", "is_parse", "text"),
    [
        (b"select 1\0", False, b"select 1"),
        (b"select 1", False, b"select 1"),
        (b"", False, b""),
        (b"name\0select $1\0\0\x01\0\0\0\x17", True, b"select $1"),
        (b"\0select 1\0\0\0", True, b"select 1"),
        (b"\0select 1", True, b"select 1"),
        (b"name cut o", True, b""),
        (b"a" * 9000, False, b"a" * STATEMENT_BYTES),
    ],
)
def test_statement_text_is_cut_out_of_the_message(body: bytes, is_parse: bool, text: bytes) -> None:
    assert statement_text(body, is_parse=is_parse) == text


def test_tags_are_read_from_comments_only() -> None:
    sql = "select 'x /*a=''1''*/', 1 /*route='%2Forders%2F:id',controller='it\\'s',bad,=''*/ -- db='y'"
    assert comment_tags(sql) == {"route": "/orders/:id", "controller": "it's", "db": "y"}
    assert comment_tags("select 1") == {}


def test_tags_are_bounded() -> None:
    many = comment_tags("/*" + ",".join(f"{'k' * 100}{n}='{'v' * 300}'" for n in range(3)) + "*/")
    assert many == {"k" * MAX_TAG_KEY: "v" * MAX_TAG_VALUE}
    assert len(comment_tags("/*" + ",".join(f"k{n}='v'" for n in range(100)) + "*/")) == MAX_TAGS


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select 1 /* poolguard:ignore */", True),
        ("-- poolguard:ignore\nselect 1", True),
        ("/* a /* poolguard:ignore */ b */ select 1", True),
        ("/*poolguard:ignore*/", True),
        ("/* poolguard:ignore", True),
        ("select 'poolguard:ignore'", False),
        ("select '/* poolguard:ignore */'", False),
        ("select $$ -- poolguard:ignore $$", False),
        ('select "/* poolguard:ignore */"', False),
        ("/* poolguard:ignored */", False),
        ("/* xpoolguard:ignore */", False),
        ("/* poolguard:ignore-not */", False),
        ("select 1", False),
    ],
)
def test_marker_counts_only_as_a_whole_word_in_a_comment(sql: str, found: bool) -> None:
    assert has_marker(sql, "poolguard:ignore") is found


def test_an_empty_marker_is_never_found() -> None:
    assert not has_marker("/* */", "")


def test_where_texts_are_not_to_be_shown_the_id_stands_for_them() -> None:
    known = fingerprint("SELECT 1")
    assert known.without_text() == (known.id, known.id)
