"""The wire cases as scripts, by their ids: see test_differential.py for how they are run."""

from collections.abc import Mapping
from typing import Final

from tests.integration.relay.differential import Script, ask, flushed, sql, tell
from tests.integration.relay.raw import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    close_portal,
    close_statement,
    copy_data,
    copy_fail,
    describe,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    run,
)

INT4PL: Final = 177
REPEAT: Final = 1622
"""Functions of PostgreSQL, by oid."""

TABLE: Final = "create table t (a int)"
LOUD_TABLE: Final = """
create table loud (a int);
create function shout() returns trigger language plpgsql as $$
begin
    raise notice 'row %', new.a;
    if new.a = 3 then raise exception 'three'; end if;
    return new;
end $$;
create trigger shout before insert on loud for each row execute function shout()
"""
SETUP: Final = f"{TABLE}; {LOUD_TABLE}"
AFRESH: Final = "truncate t, loud; insert into t values (1), (2), (3), (4), (5)"
"""The tables stay: their oids are in what PostgreSQL says."""

SIMPLE: Final[Mapping[str, Script]] = {
    "Q1 empty queries": sql("", "-- comment", "/* a /* nested */ one */", ";", ";;", " \n"),
    "Q2 several statements": sql("select 1; select 2", "select 1; select 2; select 1/0; select 3", "select 4"),
    "Q2 an error undoes the text": sql("insert into t values (9); select 1/0", "select count(*) from t"),
    "Q2 states change by texts": sql(
        "begin; select 1", "select 2; commit", "begin; insert into t values (6)", "select count(*) from t; rollback"
    ),
    "Q2 a failed one that began": sql("begin; select 1/0; select 2", "select 3", "rollback; select 4", "select 5"),
    "Q3 only I releases": sql(
        "begin; insert into t values (6)", "select count(*) from t", "rollback", "select count(*) from t"
    ),
    "Q3 implicit after explicit": sql("begin; commit; insert into t values (7); select 8", "select count(*) from t"),
    "Q4 begin twice": sql("begin", "begin", "select 1", "begin", "commit"),
    "Q4 commit and rollback of nothing": sql("commit", "rollback", "end", "abort", "select 1"),
    "Q4 commit in a failed one": sql("begin", "select 1/0", "select 1", "commit", "select 2"),
    "Q5 chains": sql(
        "start transaction isolation level repeatable read",
        "insert into t values (6)",
        "commit and chain",
        "show transaction_isolation",
        "rollback and chain",
        "select count(*) from t",
        "commit",
    ),
    "Q5 chain of nothing": sql("commit and chain", "begin", "commit and chain", "rollback"),
    "Q5 prepare transaction": sql(
        "begin", "insert into t values (6)", "prepare transaction 'x'", "rollback", "rollback prepared 'x'"
    ),
    "Q5 prepare transaction of nothing": sql(
        "prepare transaction 'x'", "begin", "prepare transaction 'x'", "rollback prepared 'x'"
    ),
    "Q6 no columns": sql("select", "select from t"),
    "Q7 rows, then an error": sql("select a, 1 / (3 - a) from t order by a", "select 1"),
    "L10 long queries": [
        ask(query(f"select length('{'x' * size}')")) for size in (16361, 16362, 16363, 65536, 1 << 20)
    ],
    "F1 function calls": [
        ask(function_call(INT4PL, b"\0\0\0\1", b"\0\0\0\2")),
        ask(function_call(REPEAT, b"abc", (400_000).to_bytes(4, "big"))),
        ask(function_call(4_000_000)),
        *sql("begin"),
        ask(function_call(INT4PL, b"\0\0\0\1", b"\0\0\0\2")),
        ask(function_call(4_000_000)),
        *sql("rollback", "select 1"),
    ],
}

EXTENDED: Final[Mapping[str, Script]] = {
    "X1 all is skipped to Sync": [
        ask(run("select 1/0"), query("select 1"), FLUSH, close_statement(), run("select 2"), query("select 3"), SYNC),
        *sql("select 4"),
    ],
    "X2 an error comes at once": [flushed(parse("selec"), last="E"), ask(bind(), SYNC), *sql("select 1")],
    "X3 a Query without Sync": [
        *sql("begin", "savepoint a"),
        ask(run("insert into t values (6)"), query("release savepoint a")),
        *sql("savepoint a"),
        flushed(run("insert into t values (1/0)"), query("release savepoint a"), last="E"),
        ask(SYNC),
        *sql("rollback to a", "select count(*) from t", "commit"),
    ],
    "X3 A1 LISTEN without Sync": [
        flushed(run("select 1"), FLUSH, last="C"),
        ask(query("listen y")),
        ask(SYNC),
        *sql("unlisten y"),
    ],
    "X4 every Sync is answered": [
        ask(run("select 1"), SYNC, run("select 2"), SYNC, query("select 3"), run("select 4"), SYNC, times=4),
        ask(run("select 1/0"), SYNC, run("select 2"), SYNC, query("select 1/0"), query("select 3"), times=4),
    ],
    "X4 a transaction over many": [
        ask(query("begin"), run("insert into t values (6)"), SYNC, query("commit"), run("select 1"), SYNC, times=4),
        ask(run("begin"), SYNC, run("insert into t values (7)"), SYNC, run("rollback"), SYNC, SYNC, times=4),
        *sql("select count(*) from t"),
    ],
    "X5 many Syncs": [ask(SYNC * 5, times=5), ask(run("select 1"), SYNC * 3, query("select 2"), SYNC, times=5)],
    "X6 a Sync alone": [ask(SYNC), *sql("begin"), ask(SYNC), *sql("select 1/0"), ask(SYNC), *sql("commit")],
    "X7 Flush keeps the server": [
        flushed(run("insert into t values (6)"), FLUSH, last="C"),
        flushed(run("select count(*) from t"), FLUSH, last="C"),
        tell(FLUSH),
        flushed(run("insert into t values (1/0)"), FLUSH, last="E"),
        ask(SYNC),
        *sql("select count(*) from t"),
    ],
    "X8 Describe, Flush, Bind, Flush, Sync later": [
        flushed(parse("insert into t values ($1) returning a", "s"), describe_statement("s"), FLUSH, last="T"),
        flushed(bind("6", name="s"), execute(), FLUSH, last="C"),
        ask(SYNC),
        *sql("select count(*) from t"),
    ],
    "X9 a portal stays open over Flush": [
        flushed(parse("select a from t order by a"), bind(portal="p"), execute("p", 2), FLUSH, last="s"),
        flushed(execute("p", 2), FLUSH, last="s"),
        flushed(execute("p", 100), FLUSH, last="C"),
        ask(close_portal("p"), SYNC),
        ask(execute("p"), SYNC),
    ],
    "X9 a portal stays open in a transaction": [
        *sql("begin"),
        ask(parse("select a from t order by a"), bind(portal="p"), execute("p", 2), SYNC),
        ask(execute("p", 2), SYNC),
        *sql("fetch 1 from p", "commit"),
        ask(execute("p"), SYNC),
    ],
    "X10 asyncpg's way": [
        flushed(parse("select $1::int + 1", "__asyncpg_1"), describe_statement("__asyncpg_1"), FLUSH, last="T"),
        ask(bind("1", name="__asyncpg_1"), execute(), SYNC),
        ask(bind("2", name="__asyncpg_1"), execute(), SYNC),
        ask(close_statement("__asyncpg_1"), SYNC),
    ],
    "X11 an error undoes its batch": [
        ask(run("insert into t values (6)"), run("select 1/0"), run("insert into t values (7)"), SYNC),
        ask(run("insert into t values (8)"), SYNC, run("select 1/0"), SYNC, times=2),
        *sql("select a from t order by a"),
    ],
    "X12 portals in parts": [
        ask(parse("select a from t order by a"), bind(), execute(rows=2), execute(rows=2), execute(), SYNC),
        ask(parse("select a from t order by a"), bind(), describe(), execute(rows=9), execute(rows=1), SYNC),
    ],
    "X15 an empty statement": [
        ask(run(""), SYNC),
        ask(parse("", "e"), describe_statement("e"), bind(name="e"), execute(), SYNC),
        ask(parse("select $1::int"), bind(), execute(), SYNC),
        ask(parse("select $1::int"), bind("1", "2"), SYNC),
        ask(parse("select 1; select 2"), SYNC),
        ask(bind(name="nobody"), SYNC),
        *sql("select 1"),
    ],
}

PREPARED: Final[Mapping[str, Script]] = {
    "P2 the unnamed is replaced": [
        ask(parse("select 1"), parse("select 2"), bind(), execute(), SYNC),
        ask(parse("select 3"), SYNC),
        ask(bind(), execute(), SYNC),
    ],
    "P16 a Parse or Close that was skipped leaves the unnamed statement": [
        ask(parse("select 1"), SYNC),
        ask(bind(name="nobody"), parse("select 2"), SYNC),
        ask(bind(), execute(), bind(name="nobody"), close_statement(), SYNC),
        ask(bind(), execute(), SYNC),
    ],
    "P3 a failed Parse is not known": [
        ask(parse("select nothing_like_that", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        ask(parse("select 1", "s"), bind(name="s"), execute(), SYNC),
        ask(run("select 1/0"), parse("select 2", "never"), SYNC),
        ask(bind(name="never"), SYNC),
    ],
    "P7 Close of what is not there": [
        ask(close_statement("nobody"), close_portal("nobody"), close_statement(), close_portal(), SYNC),
        ask(run("select 1"), close_statement("nobody"), close_portal("nobody"), run("select 2"), SYNC),
    ],
    "P8 Close of a portal keeps the statement": [
        ask(parse("select 1", "x"), bind(name="x", portal="x"), close_portal("x"), SYNC),
        ask(bind(name="x"), execute(), SYNC),
        ask(bind(name="x", portal="x"), execute("x"), close_statement("x"), execute("x"), SYNC),
        ask(bind(name="x"), SYNC),
    ],
    "P9 Close in order": [
        ask(parse("select 1", "s"), SYNC),
        ask(close_statement("s"), parse("select 2", "s"), bind(name="s"), execute(), SYNC),
        ask(parse("select 3", "u"), close_statement("u"), parse("select 4", "u"), bind(name="u"), execute(), SYNC),
        ask(close_statement("u"), bind(name="u"), execute(), SYNC),
    ],
    "P10 DEALLOCATE": [
        ask(parse("select 1", "s"), parse("select 2", "u"), parse("select 3", "v"), SYNC),
        *sql("deallocate s"),
        ask(bind(name="s"), execute(), SYNC),
        ask(bind(name="u"), execute(), SYNC),
        *sql("begin", "select 1", "deallocate u"),
        ask(bind(name="u"), execute(), SYNC),
        *sql("rollback", "deallocate all"),
        ask(bind(name="v"), execute(), SYNC),
        *sql("deallocate nobody"),
    ],
    "P10 by the extended protocol": [
        ask(parse("select 1", "s"), parse("select 2", "u"), parse("select 3", "v"), SYNC),
        ask(run("deallocate s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        ask(bind(name="u"), execute(), run("deallocate all"), bind(name="u"), execute(), SYNC),
        ask(bind(name="v"), execute(), SYNC),
        ask(parse("select 4", "w"), SYNC),
        ask(run("discard all"), SYNC),
        ask(bind(name="w"), execute(), SYNC),
        *sql("select 5"),
    ],
    "P10 DISCARD ALL": [
        ask(parse("select 1", "s"), SYNC),
        *sql("discard all"),
        ask(bind(name="s"), execute(), SYNC),
        ask(parse("select 2", "s"), bind(name="s"), execute(), SYNC),
    ],
    "P11 a statement nobody knows": [
        ask(bind(name="nobody"), execute(), SYNC),
        ask(describe_statement("nobody"), SYNC),
        *sql("begin"),
        ask(bind(name="nobody"), execute(), SYNC),
        *sql("rollback"),
    ],
    "P15 statements outlive a rollback": [
        *sql("begin"),
        ask(parse("select 1", "s"), bind(name="s"), execute(), SYNC),
        *sql("rollback"),
        ask(bind(name="s"), execute(), SYNC),
    ],
}

COPY: Final[Mapping[str, Script]] = {
    "C1 by Query": [
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("10\n1"), copy_data("1\n"), COPY_DONE),
        *sql("select a from t order by a", "copy t to stdout"),
    ],
    "C1 by Execute, with Sync and Flush inside": [
        flushed(run("copy t from stdin"), SYNC, last="G"),
        tell(copy_data("10\n"), SYNC, FLUSH, copy_data("11\n")),
        ask(SYNC, COPY_DONE, SYNC),
        *sql("select a from t order by a"),
        ask(run("copy t to stdout"), SYNC),
    ],
    "C1 all in one write": [
        ask(query("copy t from stdin"), copy_data("10\n"), COPY_DONE),
        ask(run("copy t from stdin"), copy_data("11\n"), COPY_DONE, SYNC),
        ask(query("copy t from stdin"), copy_data("12\n"), COPY_DONE, query("select count(*) from t"), times=2),
    ],
    "C1 Sync among data, all in one write": [
        ask(query("copy t from stdin"), copy_data("10\n"), SYNC, COPY_DONE),
        ask(query("copy t from stdin"), SYNC, FLUSH, COPY_DONE, query("select count(*) from t"), times=2),
        ask(run("copy t from stdin"), SYNC, copy_data("11\n"), SYNC, COPY_DONE, SYNC),
        *sql("select a from t order by a"),
    ],
    "C3 Sync behind bad data": [
        ask(query("copy t from stdin"), copy_data("x\n"), SYNC, COPY_DONE, query("select 1"), times=3),
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("x\n"), SYNC, COPY_DONE, times=2),
        ask(run("copy t from stdin"), SYNC, copy_data("x\n"), SYNC, COPY_DONE, SYNC, times=2),
        flushed(run("copy t from stdin"), SYNC, last="G"),
        ask(copy_data("x\n"), SYNC, COPY_DONE, SYNC, times=2),
        *sql("select count(*) from t"),
    ],
    "C3 Sync behind bad data, with nothing before it, all in one write": [
        ask(run("copy t from stdin"), copy_data("x\n"), copy_data("3\n"), SYNC, COPY_DONE, SYNC, times=2),
        ask(
            run("copy t from stdin"),
            copy_data("x\n"),
            SYNC,
            copy_fail("no"),
            run("insert into t values (8)"),
            SYNC,
            times=2,
        ),
        ask(
            parse("copy t from stdin", "c"), bind(name="c"), execute(), copy_data("x\n"), SYNC, COPY_DONE, SYNC, times=2
        ),
        *sql("select a from t order by a"),
    ],
    "C3 what stands behind a Sync that bad data made PostgreSQL answer": [
        ask(run("copy t from stdin"), copy_data("x\n"), SYNC, query("select 1"), bind(name="nobody"), SYNC, times=3),
        *sql("select count(*) from t"),
    ],
    "C1 one of several Executes": [
        ask(run("select 1"), run("copy t from stdin"), copy_data("10\n"), COPY_DONE, run("select 2"), SYNC),
        ask(
            run("copy t from stdin"),
            copy_data("11\n"),
            COPY_DONE,
            run("copy t from stdin"),
            copy_data("12\n"),
            COPY_DONE,
            SYNC,
        ),
        ask(
            run("copy t from stdin"),
            copy_data("13\n"),
            COPY_DONE,
            run("copy t from stdin"),
            copy_data("x\n"),
            SYNC,
            COPY_DONE,
            SYNC,
            times=2,
        ),
        flushed(run("copy t from stdin"), FLUSH, last="G"),
        flushed(copy_data("14\n"), COPY_DONE, run("copy t from stdin"), SYNC, last="G"),
        ask(copy_data("15\n"), COPY_DONE, execute(), SYNC),
        *sql("select a from t order by a"),
    ],
    "C3 a message that has no place in COPY, behind bad data": [
        ask(run("copy t from stdin"), SYNC, copy_data("x\n"), query("select 1"), bind(), SYNC),
        *sql("select count(*) from t"),
    ],
    "C1 data ahead of its COPY, behind an error": [
        ask(run("select 1/0"), SYNC, run("copy t from stdin"), copy_data("10\n"), COPY_DONE, SYNC, times=2),
        ask(query("select 1/0"), query("copy t from stdin"), copy_data("11\n"), COPY_DONE, times=2),
        *sql("select a from t order by a"),
    ],
    "C1 in a transaction": [
        *sql("begin"),
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("10\n"), COPY_DONE),
        *sql("select count(*) from t", "rollback", "select count(*) from t"),
    ],
    "C2 CopyFail": [
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("10\n"), copy_fail("no more")),
        flushed(run("copy t from stdin"), SYNC, last="G"),
        ask(copy_data("10\n"), copy_fail("no more"), SYNC),
        *sql("begin"),
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_fail("no more")),
        *sql("commit", "select count(*) from t"),
    ],
    "C3 an error while data comes": [
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("x\n"), copy_data("11\n" * 50_000), COPY_DONE),
        *sql("select 1"),
        flushed(run("copy t from stdin"), SYNC, last="G"),
        ask(copy_data("x\n"), copy_data("11\n" * 50_000), COPY_DONE, SYNC),
        *sql("select count(*) from t"),
        *sql("begin"),
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("x\n"), COPY_DONE),
        *sql("rollback"),
    ],
    "C3 an error, and the rest comes late": [
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("x\n" * 50_000)),
        tell(copy_data("11\n"), COPY_DONE),
        *sql("select count(*) from t"),
        flushed(run("copy t from stdin"), SYNC, last="G"),
        flushed(copy_data("x\n" * 50_000), last="E"),
        ask(copy_data("11\n"), COPY_DONE, SYNC),
        *sql("select count(*) from t"),
    ],
    "C3 COPY of no table": [
        ask(query("copy nobody from stdin")),
        tell(copy_data("11\n"), COPY_DONE),
        ask(run("copy nobody from stdin"), SYNC),
        *sql("select 1"),
    ],
    "C8 both ways at once": [
        flushed(query("copy loud from stdin"), last="G"),
        ask(copy_data("0" * 100 + "1\n") * 10_000, copy_data("2\n"), COPY_DONE),
        *sql("select count(*) from loud"),
    ],
    "C7 notices before a COPY error": [
        flushed(query("copy loud from stdin"), last="G"),
        ask(copy_data("1\n2\n3\n4\n"), COPY_DONE),
        flushed(run("copy loud from stdin"), SYNC, last="G"),
        ask(copy_data("1\n2\n3\n4\n"), COPY_DONE, SYNC),
        *sql("select count(*) from loud"),
    ],
}

DEFERRED: Final[Mapping[str, Script]] = {
    "D2 options reach PostgreSQL": sql(
        "begin isolation level repeatable read, read only",
        "show transaction_isolation",
        "insert into t values (6)",
        "rollback",
        "start transaction read only deferrable",
        "show transaction_read_only",
        "commit",
        "begin isolation level serializable",
        "show transaction_isolation",
        "commit",
    ),
    "D3 BEGIN with a statement": sql("begin; select 1", "commit"),
    "D4 a failing statement": sql("begin", "select 1/0", "select 1", "rollback", "select 2"),
    "D4 a failing batch": [
        *sql("begin"),
        ask(run("select 1/0"), run("select 1"), SYNC),
        ask(run("select 1"), SYNC),
        ask(run("rollback"), SYNC),
    ],
    "D5 BEGIN, BEGIN": sql("begin", "begin", "commit", "begin", "begin", "select 1", "rollback"),
    "D6 BEGIN, end": sql("begin", "commit", "begin", "rollback", "begin work", "end transaction", "commit"),
    "D6 by the extended protocol": [
        ask(run("begin"), SYNC),
        ask(run("commit"), SYNC),
        ask(run("begin"), SYNC),
        ask(run("rollback"), SYNC),
        ask(parse("begin", "b"), SYNC),
        ask(bind(name="b"), execute(), SYNC),
        ask(run("select 1"), SYNC),
        ask(run("commit"), SYNC),
    ],
    "D7 SAVEPOINT": sql("begin", "savepoint a", "select 1/0", "rollback to a", "select 1", "commit"),
    "D7 SET LOCAL": sql("begin", "set local lock_timeout = 77", "show lock_timeout", "commit", "show lock_timeout"),
    "D7 LISTEN": sql("begin", "listen c", "unlisten d", "select 1", "commit", "select 2"),
    "D7 COPY": [
        *sql("begin"),
        flushed(query("copy t from stdin"), last="G"),
        ask(copy_data("10\n"), COPY_DONE),
        *sql("rollback", "select count(*) from t"),
    ],
    "D7 a pipeline": [
        *sql("begin"),
        ask(run("insert into t values (6)"), run("select count(*) from t"), SYNC),
        ask(run("rollback"), SYNC, run("select count(*) from t"), SYNC, times=2),
        ask(query("begin"), run("insert into t values (6)"), SYNC, run("commit"), SYNC, times=3),
        *sql("select count(*) from t"),
    ],
    "X13 Describe of a BEGIN": [
        ask(parse("begin", "b"), describe_statement("b"), bind(name="b"), describe(), execute(), SYNC),
        ask(run("select 1"), SYNC),
        *sql("commit"),
    ],
}

LAST_WORDS: Final[Mapping[str, Script]] = {
    "X20 FATAL in a statement": sql("select 1", "select pg_terminate_backend(pg_backend_pid())"),
    "X20 FATAL in a transaction": sql("begin", "select 1", "select pg_terminate_backend(pg_backend_pid())"),
    "C3 a message that has no place in COPY": [
        ask(query("copy t from stdin"), copy_data("10\n"), query("select 1"), query("select 2"), times=2)
    ],
    "C3 another, behind an Execute and its Sync": [
        ask(run("copy t from stdin"), SYNC, copy_data("10\n"), bind(), SYNC)
    ],
    "X20 FATAL in a batch": [
        ask(run("select 1"), run("select pg_terminate_backend(pg_backend_pid())"), run("select 2"), SYNC)
    ],
}
