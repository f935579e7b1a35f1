"""What statements mean to a pooler."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.wire import text
from poolguard.wire.text import PLAIN, Kind, Pin, Verdict, classify

LONG = b"SELECT '" + b"x" * text.READ_LIMIT + b"'"

PLAIN_TEXTS = [
    b"", b";", b" ; ;", b"-- nothing", b"/* nothing */", b"SELECT 1", b"select count(*) from t", b"SELECT 1;",
    b"SELECT 1; SELECT 2", b"WITH a AS (SELECT 1) SELECT * FROM a", b"SAVEPOINT a", b"ROLLBACK TO a", b"RELEASE a",
    b"SELECT 'LISTEN a; SET x = 1'", b"SELECT $$ ; LISTEN a $$", b"SELECT $a$ $$ ; LISTEN a $$ $a$",
    b"SELECT 1 -- ; LISTEN a", b"SELECT /* ; LISTEN a */ 1", b'SELECT ";LISTEN a;" FROM t',
    b"SELECT E'\\'; LISTEN a; --'",
    b"SELECT 1 /* a /* b */ ; LISTEN c */", b"UPDATE t SET work_mem = 1", b"SELECT pg_advisory_xact_lock(1)",
    b"SELECT pg_try_advisory_xact_lock(1)", b"SELECT temperature(1) FROM temp",
    b"SELECT * INTO t FROM s", b"SET LOCAL work_mem = 1", b"SET TRANSACTION READ ONLY", b"SET CONSTRAINTS ALL DEFERRED",
    b"SET TimeZone = 'UTC'", b"set time zone 'UTC'", b"SET NAMES 'UTF8'", b'SET "application_name" = a',
    b"SET SESSION DateStyle = 'ISO'", b"CREATE INDEX t_a ON t (a)", b"DROP INDEX t_a", b"ALTER ROLE a NOLOGIN",
    b"PREPARE TRANSACTION", b"BEGIN; SELECT 1", b"DECLARE c CURSOR FOR SELECT 1",
    b"DISCARD PLANS", b"DEALLOCATE a b", b"DEALLOCATE",
    b"COMMIT PREPARED 'a'", b"ROLLBACK PREPARED 'a'", LONG,
]  # fmt: skip

PINS = [
    (b"SET work_mem = 1", Pin.SET),
    (b"/* hello */ SET work_mem = 1", Pin.SET),
    (b"-- hello\nSET work_mem = 1", Pin.SET),
    (b"SELECT 1; SET work_mem = 1", Pin.SET),
    (b"SET SESSION work_mem = 1", Pin.SET),
    (b"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Pin.SET),
    (b"SET SESSION AUTHORIZATION a", Pin.ROLE),
    (b"SET ROLE a", Pin.ROLE),
    (b"SET search_path = a", Pin.PATH),
    (b"SELECT set_config('a', 'b', false)", Pin.CONFIG),
    (b"SELECT SET_CONFIG ( 'a', f(1, 2), $1 )", Pin.CONFIG),
    (b"SELECT pg_catalog.set_config('a', 'b', true), set_config('a', 'b', FALSE)", Pin.CONFIG),
    (b"SELECT set_config('a', ',true)', false)", Pin.CONFIG),
    (b"SELECT set_config(set_config('a', 'b', true), 'c', false)", Pin.CONFIG),
    (b"SELECT \"set_config\"('a', 'b', false)", Pin.CONFIG),
    (b"SELECT set_config('a', 'b', is_local => true)", Pin.CONFIG),
    (b"LISTEN a", Pin.LISTEN),
    (b"listen a;", Pin.LISTEN),
    (b"SELECT 1;LISTEN a", Pin.LISTEN),
    (b"LOAD 'auto_explain'", Pin.LOAD),
    (b"PREPARE a AS SELECT 1", Pin.PREPARE),
    (b"DECLARE c CURSOR WITH HOLD FOR SELECT 1", Pin.HOLD),
    (b"SELECT pg_advisory_lock(1)", Pin.ADVISORY_LOCK),
    (b"select pg_catalog . pg_try_advisory_lock_shared ( 1 )", Pin.ADVISORY_LOCK),
    (b'SELECT "pg_advisory_lock"(1)', Pin.ADVISORY_LOCK),
    (b"SELECT f(pg_try_advisory_lock(1))", Pin.ADVISORY_LOCK),
    (b"WITH a AS (SELECT pg_advisory_lock_shared(1)) SELECT 1", Pin.ADVISORY_LOCK),
    (b"DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$", Pin.ADVISORY_LOCK),
    (b"DO $$ BEGIN PERFORM set_config('a', 'b', false); END $$", Pin.CONFIG),
    (b"DO $$ BEGIN CREATE TEMP TABLE a (); END $$", Pin.TEMPORARY),
    (b"CREATE TEMP TABLE a ()", Pin.TEMPORARY),
    (b"create local temporary view a as select 1", Pin.TEMPORARY),
    (b"CREATE OR REPLACE TEMP VIEW a AS SELECT 1", Pin.TEMPORARY),
    (b"SELECT * INTO TEMP a FROM b", Pin.TEMPORARY),
    (b"CREATE TABLE pg_temp.a ()", Pin.TEMPORARY),
    (b"DO $$ BEGIN SET work_mem = 1; END $$", Pin.SET),
    (b"DO $$ BEGIN IF true THEN LISTEN a; END IF; END $$", Pin.LISTEN),
    (b'SELECT U&"\\0070g_advisory_lock"(1)', Pin.ADVISORY_LOCK),
    (b"SELECT u&\"!0070g_advisory_lock\" UESCAPE '!' (1)", Pin.UNREAD),
    (b"SELECT nextval('s'), currval('s')", Pin.SEQUENCE),
    (b"select LASTVAL()", Pin.SEQUENCE),
    (b"SELECT setseed(0.5)", Pin.SEED),
    (LONG + b"; SET work_mem = 1", Pin.SET),
    (LONG + b" FROM lastval()", Pin.SEQUENCE),
    (LONG + b"; CREATE /* so */ TEMP TABLE a ()", Pin.TEMPORARY),
    (LONG + b"; CREATE TABLE pg_temp.a ()", Pin.TEMPORARY),
    (LONG + b"; DO $$ BEGIN END $$", Pin.UNREAD),
    (LONG + b"; /* a /* nested */ one */ LISTEN a", Pin.UNREAD),
    (b"/*" + b"x" * text.READ_LIMIT + b"*/ SET work_mem = 1", Pin.SET),
    (b";" * 100_000, Pin.UNREAD),
    (LONG + b";/* hello */ -- more\n LISTEN a", Pin.LISTEN),
    (LONG + b"; PREPARE a AS SELECT 1", Pin.PREPARE),
    (LONG + b"; CREATE TEMP TABLE a ()", Pin.TEMPORARY),
    (LONG + b" FROM pg_advisory_lock(1)", Pin.ADVISORY_LOCK),
    (b"SET work_mem = 1; " + LONG, Pin.SET),
]

KINDS = [
    (b"BEGIN", Kind.BEGIN),
    (b" begin work ; ", Kind.BEGIN),
    (b"START TRANSACTION", Kind.BEGIN),
    (b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE", Kind.BEGIN),
    (b"BEGIN TRANSACTION READ ONLY NOT DEFERRABLE", Kind.BEGIN),
    (b"/* a */ BEGIN -- b", Kind.BEGIN),
    (b"BEGIN READ WRITE", Kind.OTHER),
    (b"BEGIN ISOLATION LEVEL SERIALIZABLE", Kind.OTHER),
    (b"BEGIN NONSENSE", Kind.OTHER),
    (b"START", Kind.OTHER),
    (b'"begin"', Kind.OTHER),
    (b"COMMIT", Kind.COMMIT),
    (b"end work", Kind.COMMIT),
    (b"COMMIT AND NO CHAIN", Kind.COMMIT),
    (b"ROLLBACK", Kind.ROLLBACK),
    (b"ABORT TRANSACTION", Kind.ROLLBACK),
    (b"ROLLBACK AND CHAIN", Kind.OTHER),
    (b"PREPARE TRANSACTION 'a'", Kind.PREPARE_TRANSACTION),
    (b"DISCARD ALL", Kind.DISCARD_ALL),
    (b"RESET ALL", Kind.RESET_ALL),
    (b"DEALLOCATE ALL", Kind.DEALLOCATE_ALL),
    (b"deallocate prepare all", Kind.DEALLOCATE_ALL),
]


@pytest.mark.parametrize("sql", PLAIN_TEXTS)
def test_a_text_that_leaves_nothing_behind_is_plain_or_only_a_kind(sql: bytes) -> None:
    """Q1, T2, T5: neither a comment nor a literal nor a quoted name is taken for what it is not."""
    verdict = classify(sql)
    assert verdict.pin is Pin.NONE
    assert verdict.kind is Kind.OTHER
    assert not verdict.resets
    assert not verdict.forgets


@pytest.mark.parametrize(("sql", "pin"), PINS)
def test_a_text_that_leaves_something_in_the_session_pins(sql: bytes, pin: Pin) -> None:
    """T1, T4, T5, T7, T10, P18: neither a comment, nor a literal, nor length, nor a second statement hides it."""
    assert classify(sql).pin is pin


@pytest.mark.parametrize(("sql", "kind"), KINDS)
def test_single_statements_are_known_by_their_kind(sql: bytes, kind: Kind) -> None:
    """D2, D3, Q5."""
    assert classify(sql).kind is kind


@pytest.mark.parametrize("kind_sql", [b"BEGIN", b"COMMIT", b"ROLLBACK", b"DISCARD ALL"])
def test_two_statements_have_no_kind(kind_sql: bytes) -> None:
    """D3: `BEGIN; SELECT 1` in one Query is PostgreSQL's."""
    assert classify(kind_sql + b"; SELECT 1").kind is Kind.OTHER


MODES = list(itertools.permutations((b"read only", b"isolation level read committed", b"deferrable")))


@pytest.mark.parametrize("parts", MODES)
@pytest.mark.parametrize("joint", [b" ", b", ", b" ,"])
def test_modes_of_begin_in_any_order_can_be_answered_in_advance(parts: tuple[bytes, ...], joint: bytes) -> None:
    """D2."""
    assert classify(b"BEGIN " + joint.join(parts)).kind is Kind.BEGIN


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"DEALLOCATE a", b"a"),
        (b"deallocate prepare MiXed;", b"mixed"),
        (b'DEALLOCATE "MiXed"', b"MiXed"),
        (b'DEALLOCATE "a""b"', b'a"b'),
        (b'DEALLOCATE "all"', b"all"),
    ],
)
def test_deallocate_names_what_postgresql_would_drop(sql: bytes, name: bytes) -> None:
    """P10."""
    assert classify(sql) == Verdict(Kind.DEALLOCATE, name=name, deallocates=(name,))


@pytest.mark.parametrize(
    ("sql", "resets", "forgets"),
    [
        (b"RESET ALL", True, False),
        (b"RESET search_path", True, False),
        (b"RESET TIME ZONE", True, False),
        (b"SET search_path TO DEFAULT", True, False),
        (b"SET NAMES", True, False),
        (b"SET SESSION TIME ZONE LOCAL", True, False),
        (b"SET LOCAL search_path TO DEFAULT", False, False),
        (b"SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", True, False),
        (b"DISCARD ALL", True, True),
        (b"DEALLOCATE ALL", False, True),
        (b"SELECT 1; DEALLOCATE PREPARE ALL", False, True),
        (LONG + b"; RESET ALL", True, False),
        (b"RESET ALL; " + LONG, True, False),
    ],
)
def test_what_takes_back_parameters_or_statements_is_seen_among_others(sql: bytes, resets: bool, forgets: bool) -> None:
    """T8, P10: also in a text of several statements, as asyncpg's reset is."""
    verdict = classify(sql)
    assert (bool(verdict.resets), verdict.forgets) == (resets, forgets)


@pytest.mark.parametrize(
    ("sql", "frees"),
    [
        (b"RESET ALL", {Pin.SET, Pin.PATH}),
        (b"CLOSE ALL", {Pin.HOLD}),
        (b"DISCARD TEMP", {Pin.TEMPORARY}),
        (b"SELECT pg_advisory_unlock_all()", {Pin.ADVISORY_LOCK}),
        (b"select pg_catalog.pg_advisory_unlock_all();", {Pin.ADVISORY_LOCK}),
        (b"DISCARD ALL", set(Pin)),
        (b"SELECT pg_advisory_unlock_all(), 1", set()),
        (b"SELECT pg_advisory_unlock_all(); CLOSE ALL; RESET ALL", {Pin.ADVISORY_LOCK, Pin.HOLD, Pin.SET, Pin.PATH}),
        (b"BEGIN; RESET ALL; ROLLBACK", set()),
        (b"RESET ALL; SET work_mem = 1", set()),
        (b"RESET work_mem", set()),
    ],
)
def test_what_ends_pins_is_known_where_it_stands_alone(sql: bytes, frees: set[Pin]) -> None:
    """T8, T10."""
    assert classify(sql).frees == frees


@pytest.mark.parametrize(
    ("sql", "restarts"),
    [
        (b"COMMIT AND CHAIN", True),
        (b"ROLLBACK TRANSACTION AND CHAIN", True),
        (b"COMMIT; BEGIN", True),
        (b"COMMIT AND NO CHAIN", False),
        (b"ROLLBACK TO a; SELECT 1", False),
        (b"ROLLBACK TO SAVEPOINT a; SELECT 1", False),
        (b"COMMIT PREPARED 'a'; SELECT 1", False),
        (b"SELECT 1; COMMIT", False),
    ],
)
def test_a_text_behind_whose_commit_another_transaction_begins_is_known(sql: bytes, restarts: bool) -> None:
    """Q5: the age of a transaction begins anew."""
    assert classify(sql).restarts is restarts


@pytest.mark.parametrize(
    ("sql", "strays"),
    [
        (b"SET LOCAL search_path = a", True),
        (b"SET SCHEMA 'a'", True),
        (b"SET LOCAL ROLE a", True),
        (b"RESET ROLE", True),
        (b"SELECT set_config($1, $2, true)", True),
        (b"DISCARD ALL", True),
        (b"CREATE TEMP TABLE t (a int)", True),
        (b"CREATE TEMP TABLE t (a int) ON COMMIT DROP", True),
        (b"SELECT 1 AS a INTO TEMP t", True),
        (b"DISCARD TEMP", True),
        (b"SET LOCAL work_mem = 1", False),
        (b"SET TimeZone = 'UTC'", False),
    ],
)
def test_what_may_change_the_meaning_of_names_is_known(sql: bytes, strays: bool) -> None:
    """P13."""
    assert classify(sql).strays is strays


@pytest.mark.parametrize(
    ("sql", "restructures"),
    [
        (b"CREATE TABLE t (a int)", True),
        (b"create unlogged table t (a int)", True),
        (b"CREATE OR REPLACE VIEW v AS SELECT 1", True),
        (b"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", True),
        (b"/* a */ ALTER TABLE t ADD COLUMN b int", True),
        (b"SELECT 1; DROP TYPE IF EXISTS t", True),
        (b"DROP SCHEMA s CASCADE", True),
        (b"CREATE TEMP TABLE t (a int)", False),
        (b"CREATE LOCAL TEMPORARY TABLE t (a int)", False),
        (b"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", False),
        (b"CREATE INDEX t_a ON t (a)", False),
        (b"SELECT 'ALTER TABLE t'", False),
    ],
)
def test_what_changes_the_meaning_of_names_for_everybody_is_known(sql: bytes, restructures: bool) -> None:
    """P12, P13."""
    assert classify(sql).restructures is restructures


@pytest.mark.parametrize(
    ("sql", "all_of_them"),
    [
        (b"RESET ALL", True),
        (b"DISCARD ALL", True),
        (b"SELECT 1; RESET ALL", True),
        (LONG + b"; DISCARD ALL", True),
        (b"RESET search_path", False),
        (LONG + b"; RESET search_path", False),
    ],
)
def test_a_reset_of_all_is_told_from_that_of_one(sql: bytes, all_of_them: bool) -> None:
    """T8."""
    assert classify(sql).resets_all is all_of_them


@pytest.mark.parametrize(
    ("sql", "only_ends"), [(b"COMMIT", True), (b"ROLLBACK", True), (b"BEGIN", True), (b"ROLLBACK TO a", False)]
)
def test_only_what_ends_or_begins_a_transaction_does_no_more(sql: bytes, only_ends: bool) -> None:
    assert classify(sql).only_ends is only_ends


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_and_the_same_bytes_mean_the_same(sql: bytes) -> None:
    assert classify(sql) == classify(sql)


hostile = st.lists(
    st.sampled_from(
        [b"'", b'"', b"$", b"$$", b"$a$", b"/*", b"*/", b"--", b"\n", b"e'", b"\\", b";", b"(", b" ", b"set", b"x"]
    )
).map(b"".join)


@given(before=hostile)
def test_what_stands_behind_a_closed_text_is_not_hidden_by_it(before: bytes) -> None:
    """A LISTEN after any number of closed literals and comments is found: whatever is open is closed by its like."""
    closed = before.replace(b"$", b"").replace(b"\\", b"").replace(b"/*", b"").replace(b"*/", b"").replace(b"--", b"")
    for quote in (b"'", b'"'):
        closed = closed.replace(quote, quote * 2)
    assert classify(b"SELECT 1 " + closed + b";LISTEN a").pin in (Pin.LISTEN, Pin.SET)


@pytest.mark.parametrize(
    "piece", [b"(", b"/*", b"'", b"$a$", b"e'\\", b";", b"set_config(", b"set_config(\n,true", b"- ", b'"']
)
def test_reading_takes_time_in_proportion_to_the_length(piece: bytes) -> None:
    """Of 64 KiB, which squared would take minutes: a bound that no slow machine reaches."""
    began = time.process_time()
    text._read(piece * (65536 // len(piece)))
    assert time.process_time() - began < 2.0


def test_the_cache_is_bounded() -> None:
    for number in range(text._CACHE_SIZE + 10):
        classify(b"SAVEPOINT a%d" % number)
    assert len(text._cache) <= text._CACHE_SIZE
    for number in range(text._CACHE_SIZE + 10):
        classify(b"SELECT a FROM t" + b"_" * (number % 64) + b"x" * (number // 64))
    assert 0 < len(text._plain_shapes) <= text._CACHE_SIZE


numbered = st.lists(
    st.sampled_from(
        [
            b"SELECT", b"select", b"INSERT", b"SET", b"BEGIN", b" ", b";", b"(", b")", b"INTO", b"temp", b"pg_temp_%d.t", b"%d",
            b"t%d", b"'%d'", b"pg_advisory_lock(%d)", b"setval('s', %d)", b"lastval()", b'u&"\\%04d"', b"work_mem = %d", b"-- %d\n",
        ]
    ),
    max_size=8,
).map(b" ".join)  # fmt: skip


@given(sql=numbered, number=st.integers(0, 9999), other=st.integers(0, 9999))
def test_a_text_means_the_same_whatever_was_read_before_with_other_numbers(sql: bytes, number: int, other: int) -> None:
    places = sql.count(b"%")
    text._cache.clear()
    text._plain_shapes.clear()
    alone = classify(sql % ((number,) * places))
    text._cache.clear()
    text._plain_shapes.clear()
    classify(sql % ((other,) * places))
    assert classify(sql % ((number,) * places)) == alone


def test_a_plain_text_is_read_once_whatever_its_numbers() -> None:
    text._plain_shapes.clear()
    for number in range(100, 200):
        classify(b"UPDATE t SET a = a + %d WHERE id = %d" % (number, 299 - number))
    assert len(text._plain_shapes) == 1


def test_plain_is_always_the_same_object() -> None:
    """The hot path compares by identity."""
    assert all(classify(sql) is PLAIN for sql in PLAIN_TEXTS)


@pytest.mark.parametrize(
    ("sql", "path"),
    [
        (b"SET search_path TO a, b", "a, b"),
        (b"/* a */ set session search_path = 'x;y'; -- end\n", "'x;y'"),
        (b"RESET search_path", ""),
        (b"SET search_path TO DEFAULT;", ""),
        (b"SELECT 1; CLOSE ALL; RESET ALL", ""),
        (b"DISCARD ALL", ""),
        (b"SET search_path TO a; SELECT 1", None),
        (b"RESET ALL; SET search_path TO a", None),
        (b"BEGIN; RESET search_path; ROLLBACK", None),
        (b"RESET search_path; LISTEN a", None),
        (b"SET LOCAL search_path TO a", None),
        (b"SET work_mem = 1", None),
        (b"RESET work_mem", None),
    ],
)
def test_what_search_path_becomes_is_known_where_nothing_in_the_text_can_undo_it(sql: bytes, path: str | None) -> None:
    """T1, T2, T8."""
    assert classify(sql).path == path
