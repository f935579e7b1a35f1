"""Prepared statements, where errors and their words matter: see test_differential.py for how the scripts are run."""

from collections.abc import Mapping
from typing import Final

from tests.integration.relay.differential import Script, Step, ask, flushed, sql
from tests.integration.relay.raw import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_statement,
    execute,
    parse,
    query,
    run,
)

MANY: Final = 65_535
"""The most parameters that Bind can count."""

GROWN: Final = "select * from grown union all select * from grown"
"""No column of which comes from one table, for each time its oid is another."""


def _made(text: str, name: str) -> Step:
    """A statement prepared, described and run."""
    return ask(parse(text, name), describe_statement(name), bind(name=name), execute(), SYNC)


PREPARED: Final[Mapping[str, Script]] = {
    "P12 the same text behind a change of its table": [
        *sql("create table grown (a int)"),
        _made(GROWN, "s"),
        *sql("alter table grown add b int"),
        _made(GROWN, "t"),
        ask(close_statement("s"), SYNC),
        _made(GROWN, "s"),
        *sql("begin", "alter table grown add c int"),
        _made(GROWN, "u"),
        *sql("rollback"),
        _made(GROWN, "v"),
        *sql("drop table grown"),
    ],
    "P12 the same text behind a type and a function that are others now": [
        *sql("create type mood as enum ('a')", "create function f() returns int language sql as 'select 1'"),
        ask(parse("select 'a' = any(enum_range(null::mood)::text[])", "s"), bind(name="s"), execute(), SYNC),
        _made("select f()", "g"),
        *sql("drop type mood; create type mood as enum ('b')"),
        *sql("drop function f(); create function f() returns text language sql as $$select 'x'::text$$"),
        ask(parse("select 'a' = any(enum_range(null::mood)::text[])", "t"), bind(name="t"), execute(), SYNC),
        _made("select f()", "h"),
        *sql("drop type mood; drop function f()"),
    ],
    "P13 the same text behind a table that hides another": [
        _made("select * from t", "s"),
        *sql("create schema postgres", "create table postgres.t (z text)"),
        ask(parse("select * from t", "u"), bind(name="u"), execute(), SYNC),
        *sql("drop schema postgres cascade"),
        _made("select * from t", "v"),
    ],
    "P13 T10 the same text behind a temporary table that hides another": [
        _made("select * from t", "s"),
        *sql("begin", "create temp table t (z text) on commit drop"),
        ask(parse("select * from t", "u"), bind(name="u"), execute(), SYNC),
        *sql("commit"),
        _made("select * from t", "v"),
        *sql("create temp table t (z text)"),
        ask(parse("select * from t", "w"), bind(name="w"), execute(), SYNC),
        *sql("discard temp"),
        _made("select * from t", "x"),
    ],
    "P2 a name twice": [
        ask(parse("select 1", "s"), SYNC),
        ask(parse("select 2", "s"), SYNC),
        ask(parse("selec", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        *sql("create table lost (a int)"),
        ask(parse("select a from lost", "l"), SYNC),
        *sql("drop table lost"),
        ask(parse("select nothing_like_that", "l"), SYNC),
        ask(parse("select 3", "t"), parse("select 3", "t"), parse("select 4", "u"), SYNC),
        ask(bind(name="t"), execute(), SYNC),
        ask(bind(name="u"), execute(), SYNC),
        *sql("begin"),
        ask(parse("select 5", "s"), SYNC),
        ask(parse("select 6", "s"), SYNC),
        ask(run("rollback"), SYNC),
        ask(close_statement("s"), parse("select 7", "s"), bind(name="s"), execute(), SYNC),
    ],
    "P3 what fails in a batch": [
        ask(parse("select 1", "s"), parse("select nothing_like_that", "u"), parse("select 2", "v"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        ask(bind(name="u"), execute(), SYNC),
        ask(bind(name="v"), execute(), SYNC),
    ],
    "P3 P9 P10 X4 X5 names used again behind an error that has not come yet": [
        ask(parse("select 1", "s"), SYNC),
        *(
            ask(run("select 1/0"), skipped, SYNC, *then, SYNC, bind(name="s"), execute(), SYNC, times=3)
            for skipped in (close_statement("s"), run("deallocate s"), run("deallocate all"), parse("select 2", "t"))
            for then in (
                [parse("select 3", "s")],
                [parse("select 2", "u"), bind(name="u"), execute()],
                [parse("select 2", "t"), bind(name="t"), execute(), close_statement("t")],
                [close_statement("u"), bind(name="s"), execute(), parse("select 4", "u")],
                [describe_statement("t")],
            )
        ),
        ask(bind(name="u"), execute(), SYNC),
        ask(run("select 1/0"), close_statement("s"), SYNC, query("deallocate s"), bind(name="s"), SYNC, times=3),
        ask(parse("select $1::int", "n"), SYNC),
        ask(bind(name="n"), SYNC, close_statement("n"), SYNC, times=2),
        ask(parse("select 5", "s"), SYNC),
        *sql("begin"),
        ask(query("select 1/0"), query("deallocate s"), query("rollback"), bind(name="s"), execute(), SYNC, times=4),
        ask(query("select 6"), query("deallocate s"), parse("select 7", "s"), bind(name="s"), execute(), SYNC, times=3),
        ask(parse("select 8", "x"), query("select 1/0"), bind(name="x"), execute(), SYNC, times=2),
        ask(bind(name="s"), FLUSH, parse("select 9", "y"), SYNC, bind(name="y"), execute(), SYNC, times=2),
    ],
    "P6 answers in order": [
        ask(parse("select 1", "s"), SYNC),
        ask(
            describe_statement("s"),
            bind(name="s"),
            close_statement("s"),
            execute(),
            parse("select 2", "s"),
            bind(name="s"),
            execute(),
            SYNC,
        ),
        flushed(parse("select repeat('x', 100000) from generate_series(1, 20)", "big"), FLUSH, last="1"),
        ask(bind(name="big"), execute(), parse("select 3", "late"), close_statement("late"), SYNC),
    ],
    "P10 only what is executed counts": [
        ask(
            parse("select 1", "s"),
            parse("deallocate s", "d"),
            parse("deallocate all", "a"),
            parse("discard all", "x"),
            SYNC,
        ),
        ask(parse("deallocate s"), parse("discard all"), bind(), bind(name="a", portal="p"), SYNC),
        ask(parse("select 2", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        ask(run("select 1/0"), bind(name="d"), execute(), bind(name="a"), execute(), SYNC),
        ask(bind(name="s"), execute(), SYNC),
        ask(bind(name="d"), execute(), bind(name="s"), SYNC),
        ask(bind(name="d"), execute(), SYNC),
        ask(parse("select 3", "s"), bind(name="d"), execute(), parse("select 4", "s"), bind(name="s"), execute(), SYNC),
        *sql("begin", "select 1", "discard all", "rollback"),
        ask(bind(name="s"), execute(), SYNC),
        ask(bind(name="a"), execute(), bind(name="s"), SYNC),
        ask(bind(name="d"), SYNC),
    ],
    "P10 several DEALLOCATEs in one text": [
        ask(*(parse(f"select '{name}'", name) for name in "stuvw"), SYNC),
        *sql("deallocate s; deallocate prepare t", "deallocate s; select 1"),
        ask(bind(name="t"), execute(), SYNC),
        *sql("deallocate u; select 1/0; deallocate v"),
        ask(bind(name="v"), execute(), SYNC),
        ask(bind(name="u"), execute(), SYNC),
        *sql("deallocate v; deallocate v"),
        *sql("begin; deallocate w; select 1/0", "rollback; deallocate w", "select 2; deallocate all"),
        ask(parse("select 'x'", "x"), SYNC),
        *sql("select 1/0; deallocate x; deallocate all", "deallocate x; deallocate all; select 3"),
        ask(bind(name="x"), execute(), SYNC),
    ],
    "P10 X3 a DEALLOCATE ends what was not synced": [
        ask(parse("select 1", "s"), SYNC),
        ask(run("insert into t values (6)"), query("deallocate s")),
        *sql("rollback", "select count(*) from t"),
        ask(parse("select 1", "s"), SYNC),
        ask(run("select 1/0"), query("deallocate s"), query("select 1/0; deallocate s; deallocate all"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
    ],
    "P3 P10 X4 statements given up in SQL behind an error that has not come yet": [
        ask(parse("select 1", "s"), parse("select 2", "u"), SYNC),
        *(
            step
            for gone in ("deallocate all", "discard all", "select 3; deallocate s; deallocate u")
            for step in (
                ask(query("begin"), query("select 1/0"), query(gone), bind(name="s"), SYNC, query("rollback"), times=5),
                ask(bind(name="s"), execute(), SYNC, bind(name="u"), execute(), SYNC, times=2),
            )
        ),
        ask(query("select 1/0"), query("deallocate all"), bind(name="s"), SYNC, parse("select 4", "s"), SYNC, times=4),
        ask(bind(name="s"), execute(), SYNC, query("discard all"), bind(name="s"), SYNC, times=3),
    ],
    "P16 an unnamed statement whose Parse failed": [
        ask(parse("select nothing_like_that"), bind(), execute(), SYNC, bind(), execute(), SYNC, times=2),
        *sql("begin", "select 1"),
        ask(parse("selec"), SYNC),
        ask(bind(), execute(), SYNC),
        *sql("rollback"),
        ask(run("select 1/0"), SYNC),
        ask(bind(), execute(), SYNC),
        ask(parse("select $1::int"), bind("x"), execute(), SYNC),
        ask(bind("1"), execute(), SYNC),
    ],
    "P16 P10 a DEALLOCATE drops the unnamed statement too": [
        *(
            step
            for begin in (sql("select 1"), sql("begin", "select 1"))
            for step in (
                *begin,
                ask(parse("select 1", "s"), parse("select 2"), SYNC),
                *sql("deallocate s"),
                ask(bind(), execute(), SYNC),
                *sql("rollback"),
            )
        ),
    ],
    "P16 X4 the unnamed statement behind an error that has not come yet": [
        *(
            step
            for skipped in (parse("select 2"), close_statement(), query("select 3"))
            for step in (
                ask(parse("select 1"), SYNC),
                ask(bind(name="nobody"), skipped, SYNC, bind(), execute(), SYNC, times=2),
                ask(bind(name="nobody"), skipped, SYNC, query("select 4"), bind(), SYNC, bind(), SYNC, times=4),
            )
        ),
    ],
    "P16 X3 what comes behind a Query that an error skips": [
        ask(
            bind(name="nobody"),
            query("select 1"),
            run("select 2"),
            SYNC,
            bind(name="nobody"),
            SYNC,
            bind(),
            SYNC,
            times=3,
        ),
    ],
    "P2 P11 what is checked first in a failed transaction": [
        ask(parse("select 1", "s"), SYNC),
        *(
            step
            for said in (
                [parse("select 1", "s")],
                [parse("select 1", "new")],
                [bind(name="s")],
                [bind(name="nobody")],
                [bind()],
                [describe_statement("s")],
                [describe_statement("nobody")],
                [close_statement("s"), bind(name="s")],
                [parse("select 1"), bind()],
                [parse("rollback"), bind(), execute()],
                [parse("rollback", "s")],
                [parse("", "s")],
            )
            for step in (
                ask(query("begin"), query("select 1/0"), *said, SYNC, query("rollback"), times=4),
                *sql("begin", "select 1/0"),
                ask(*said, SYNC),
                *sql("rollback"),
                ask(bind(name="new"), SYNC, bind(), SYNC, times=2),
            )
        ),
    ],
    "P11 the client's names in errors": [
        ask(bind(name="__poolguard_1"), SYNC),
        ask(describe_statement("__poolguard_1"), SYNC),
        ask(bind(name="a name with spaces"), SYNC),
        ask(describe_statement(), SYNC),
    ],
    "P12 a changed table": [
        *sql("create table changed (a int)", "insert into changed values (1)"),
        ask(parse("select * from changed", "s"), bind(name="s"), execute(), SYNC),
        *sql("alter table changed add b int"),
        ask(bind(name="s"), execute(), SYNC),
        ask(close_statement("s"), parse("select * from changed", "s"), bind(name="s"), execute(), SYNC),
        *sql("begin", "alter table changed add c int"),
        ask(bind(name="s"), execute(), SYNC),
        *sql("select 1", "rollback"),
        ask(bind(name="s"), execute(), SYNC),
        *sql("drop table changed"),
        ask(bind(name="s"), execute(), SYNC),
    ],
    "P13 search_path": [
        *sql("create schema one; create schema two"),
        *sql("create function one.x() returns int language sql as 'select 1'"),
        *sql("create function two.x(out b text, out c text) language sql as $$ select 't'::text, 'u'::text $$"),
        *sql("begin", "set local search_path = one"),
        ask(parse("select * from x()", "s"), describe_statement("s"), bind(name="s"), execute(), SYNC),
        *sql("commit", "begin", "set local search_path = two"),
        ask(parse("select * from x()", "t"), describe_statement("t"), bind(name="t"), execute(), SYNC),
        *sql("commit", "begin", "set local search_path = one"),
        ask(bind(name="s"), execute(), SYNC),
        *sql("commit", "drop schema one cascade; drop schema two cascade"),
    ],
    "P13 SET search_path": [
        *sql("create schema one; create schema two"),
        *sql("create table one.t as select 1 as a", "create table two.t as select 2 as a"),
        *sql("set search_path = one", "show search_path"),
        ask(parse("select a + 0 from t", "s"), describe_statement("s"), bind(name="s"), execute(), SYNC),
        *sql("select a + 0 from t", "set search_path to 'two', \"public\""),
        ask(bind(name="s"), execute(), SYNC),
        *sql(
            "select a + 0 from t",
            "begin",
            "set search_path = one",
            "select a + 0 from t",
            "rollback",
            "show search_path",
        ),
        ask(bind(name="s"), execute(), SYNC),
        *sql("reset search_path", "select a + 0 from t", "show search_path"),
        ask(bind(name="s"), execute(), SYNC),
        *sql("discard all", "set search_path = two"),
        ask(parse("set search_path = one", "set"), SYNC),
        ask(bind(name="set"), execute(), SYNC),
        ask(parse("select a + 0 from t", "s"), bind(name="s"), execute(), SYNC),
        ask(run("set search_path = two"), run("select a + 0 from t"), SYNC),
        ask(run("set search_path = one"), run("select 1 / 0"), SYNC),
        ask(query("set search_path = one"), run("select a + 0 from t"), SYNC, times=2),
        *sql("select a + 0 from t", "show search_path", "reset all", "show search_path"),
        *sql("drop schema one cascade; drop schema two cascade"),
    ],
    "P2 a name that is taken, for what a failed transaction lets through": [
        *sql("begin", "savepoint a"),
        ask(parse("select 1", "s"), SYNC),
        *sql("select 1/0"),
        ask(parse("rollback to a", "s"), SYNC),
        ask(parse("ROLLBACK AND CHAIN", "s"), SYNC),
        ask(parse("; ", "s"), SYNC),
        ask(parse("select 2", "s"), SYNC),
        ask(parse("endless", "s"), SYNC),
        *sql("rollback"),
        ask(parse("rollback to a", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
    ],
    "P10 an error of what a later batch gives up": [
        ask(parse("select 1", "s"), SYNC),
        ask(bind("1", name="s"), SYNC, run("deallocate s"), SYNC, times=2),
        ask(bind(name="s"), SYNC),
    ],
    "P13 X15 an error of what is prepared again under another search_path": [
        ask(parse("select 1", "s"), SYNC),
        *sql("select 2", "begin", "set local search_path = public"),
        ask(bind("1", name="s"), SYNC),
        *sql("rollback"),
    ],
    "P18 PREPARE and EXECUTE": sql(
        "prepare p(int) as select $1 + 1",
        "execute p(1)",
        "explain (costs off) execute p(1)",
        "create temp table made as execute p(2)",
        'select "?column?" + 0 from made',
        "prepare p as select 1",
        "deallocate p",
        "execute p(1)",
        "begin",
        "prepare q as select 2",
        "rollback",
        "execute q",
        "deallocate all",
        "execute q",
        "discard all",
    ),
    "P18 PREPARE, then Bind": [
        *sql("prepare p(int) as select $1 + 1"),
        ask(describe_statement("p"), bind("1", name="p"), execute(), SYNC),
        ask(close_statement("p"), SYNC),
        *sql("discard all"),
    ],
    "X15 parameters in wrong numbers": [
        ask(parse("select $1::int, $2::int", "s"), SYNC),
        ask(bind("1", name="s"), execute(), SYNC),
        ask(bind("1", "2", "3", name="s"), execute(), SYNC),
        ask(parse("select $1::int"), bind("1", "2"), SYNC),
        ask(bind("1", "2", name="s"), execute(), SYNC),
    ],
    "X14 BEGIN as JDBC sends it": [
        ask(parse("BEGIN"), bind(), execute(), parse("select 1"), bind(), execute(), SYNC),
        ask(run("COMMIT"), SYNC),
        ask(parse("BEGIN", "S_1"), bind(name="S_1"), execute(), run("select 2"), SYNC),
        ask(run("ROLLBACK"), SYNC),
        ask(bind(name="S_1"), execute(), SYNC),
        ask(run("select 1/0"), SYNC),
        ask(run("ROLLBACK"), SYNC),
        ask(bind(name="S_1"), execute(), bind(name="S_1"), execute(), SYNC),
        ask(run("COMMIT"), SYNC),
    ],
    "X16 as many parameters as there can be": [
        ask(
            parse("select coalesce(" + ",".join(f"${n}::int" for n in range(1, MANY + 1)) + ")", "m"),
            describe_statement("m"),
            SYNC,
        ),
        ask(bind(*["1"] * MANY, name="m"), execute(), SYNC),
        ask(bind(*["1"] * 40_000, name="m"), execute(), SYNC),
    ],
}
