"""Prepared statements, where errors and their words matter: see test_differential.py for how the scripts are run."""

from collections.abc import Mapping
from typing import Final

from tests.integration.relay.differential import Script, ask, flushed, sql
from tests.integration.relay.raw import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_statement,
    execute,
    parse,
    run,
)

MANY: Final = 65_535
"""The most parameters that Bind can count."""

PREPARED: Final[Mapping[str, Script]] = {
    "P2 a name twice": [
        ask(parse("select 1", "s"), SYNC),
        ask(parse("select 2", "s"), SYNC),
        ask(parse("selec", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC),
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
