"""What kind of work a statement is, and that no literal, name or comment misleads."""

import pytest

from poolguard.wire.classes import StatementClass, classes_of, isolation_of, savepoints_of
from poolguard.wire.fingerprint import normalise

LARAVEL_POP = (
    'select * from "jobs" where "queue" = $1 and (("reserved_at" is null and "available_at" <= $2) or '
    '("reserved_at" <= $3)) order by "id" asc limit 1 for update'
)


@pytest.mark.parametrize(
    ("sql", "classes"),
    [
        ("SELECT 1", "read"),
        ("(select 1) union (select 2)", "read"),
        ("show all", "read"),
        ("select 'delete from t; commit'", "read"),
        ("select 1 -- for update", "read"),
        ('select "update" from t', "read"),
        ("with x as (select 1) select * from x", "read"),
        ("with x as (delete from t returning *) select * from x", "write"),
        ("select * into copy_of from t", "write"),
        ("insert into t values (1) on conflict do nothing", "write"),
        ("call p()", "write"),
        ("execute prepared(1)", "write"),
        ("nonsense", "write"),
        ("explain delete from t", "read"),
        ("explain (analyze) delete from t", "write"),
        ("select * from t for share", "lock"),
        ("select * from t for no key update nowait", "lock"),
        ("lock table t in access exclusive mode", "lock"),
        ("select id from jobs for update skip locked limit 1", "lock job_pop"),
        ("select id from jobs for share skip locked", "lock"),
        (LARAVEL_POP, "lock job_pop"),
        ("create table t (a int)", "ddl write"),
        ("create temp table t (a int)", "write"),
        ("create unique index concurrently i on t (a)", "ddl write concurrently"),
        ("reindex index concurrently i", "ddl write vacuum concurrently"),
        ("refresh materialized view v", "ddl write vacuum"),
        ("vacuum (full) t", "vacuum write"),
        ("analyze t", "vacuum write"),
        ("copy t from stdin", "copy write"),
        ("copy (select 1) to stdout", "copy read"),
        ("begin; select 1; commit", "begin read commit"),
        ("end work", "commit"),
        ("abort", "rollback"),
        ("rollback to savepoint a", "savepoint"),
        ("prepare transaction 'x'", "prepare_transaction"),
        ("", ""),
    ],
)
def test_classes(sql: str, classes: str) -> None:
    assert classes_of(normalise(sql)) == {StatementClass(name) for name in classes.split()}


def test_a_text_that_was_cut_off_may_write() -> None:
    assert classes_of(normalise("select " + ", ".join(f"column_{n}" for n in range(1000)))) == {StatementClass.WRITE}


def test_a_normalised_text_is_read_like_the_text_itself() -> None:
    once = normalise(LARAVEL_POP)
    assert classes_of(normalise(once)) == classes_of(once)


def test_savepoints_in_order() -> None:
    text = normalise('savepoint A; release savepoint a; rollback work to "B"; select 1; release c')
    assert savepoints_of(text) == [("savepoint", "a"), ("release", "a"), ("rollback", '"B"'), ("release", "c")]


@pytest.mark.parametrize(
    ("sql", "level"),
    [
        ("BEGIN ISOLATION LEVEL  SERIALIZABLE", "serializable"),
        ("start transaction read only, isolation level repeatable read", "repeatable read"),
        ("set transaction isolation level read committed", "read committed"),
        ("begin", ""),
        ("select 'isolation level serializable'", ""),
    ],
)
def test_isolation_is_what_was_said(sql: str, level: str) -> None:
    assert isolation_of(normalise(sql)) == level
