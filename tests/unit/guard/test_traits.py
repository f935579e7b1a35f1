"""What statements say of their transaction, and what they don't."""

from typing import Any

import pytest

from poolguard.guard.traits import KnownTraits, Traits, lifted_timeouts, read_traits
from poolguard.wire.classes import StatementClass
from tests.unit.guard.builders import idle


def traits(*statements: str, count: int | None = None, **changes: Any) -> Traits:
    texts = tuple(sql.encode() for sql in statements)
    return read_traits(
        idle(1.0, recent=texts, statement=texts[-1] if texts else b"", statements=count or len(texts), **changes)
    )


@pytest.mark.parametrize(
    ("statements", "count", "wrote"),
    [
        (("select 1", "select 2"), 2, False),
        (("select 1", "update t set a = 1"), 2, True),
        (("select 1 for update",), 1, True),
        (("select 1",), 40, None),
        (("insert into t values (1)",), 40, True),
        (("insert into t values (1)", "commit", "select 1"), 40, False),
        (("insert into t values (1)", "begin", "select 1"), 40, False),
        (("insert into t values (1)", "commit"), 2, True),
        ((), 0, False),
    ],
)
def test_wrote_is_known_only_of_statements_that_are_known(
    statements: tuple[str, ...], count: int, wrote: bool | None
) -> None:
    assert traits(*statements, count=count or None).wrote is wrote


@pytest.mark.parametrize(
    ("statements", "count", "is_open"),
    [
        (("select 1",), 1, False),
        (("savepoint a",), 1, True),
        (("savepoint a", "release a"), 2, False),
        (("savepoint a", "savepoint b", "release savepoint a"), 3, False),
        (("savepoint a", "rollback to savepoint a"), 2, True),
        (("savepoint a", "savepoint b", "rollback to a", "release a"), 4, False),
        (("savepoint a", "savepoint a", "release a"), 3, True),
        (("select 1",), 99, None),
        (("savepoint a", "select 1"), 99, True),
    ],
)
def test_savepoints_are_counted(statements: tuple[str, ...], count: int, is_open: bool | None) -> None:
    assert traits(*statements, count=count).savepoint is is_open


def test_tags_isolation_and_classes() -> None:
    read = traits(
        "begin isolation level repeatable read /*route='%2Fold'*/",
        "create table t (a int)",
        "select 'x' /*route='%2Fcheckout',application='shop'*/",
    )
    assert read.isolation == "repeatable read"
    assert read.tags == {"route": "/checkout", "application": "shop"}
    assert read.latest == {StatementClass.READ}
    assert StatementClass.DDL in read.classes
    assert read.text == "select ?"


@pytest.mark.parametrize(
    ("statements", "lifted"),
    [
        ((b"SET statement_timeout = 0",), {"statement_timeout"}),
        ((b"set session idle_in_transaction_session_timeout to '0ms'",), {"idle_in_transaction_session_timeout"}),
        ((b"SET LOCAL transaction_timeout=0; select 1",), {"transaction_timeout"}),
        ((b"SET statement_timeout = 0", b"SET statement_timeout = '5s'"), set()),
        ((b"SET lock_timeout = 0",), set()),
        ((b"SET statement_timeout = 500",), set()),
    ],
)
def test_a_timeout_is_lifted_by_an_explicit_zero_that_still_counts(
    statements: tuple[bytes, ...], lifted: set[str]
) -> None:
    assert lifted_timeouts(statements) == lifted


def test_sets_that_lasted_longer_than_the_memory_of_statements_count() -> None:
    assert traits("select 1", sets=(b"SET statement_timeout = 0",)).lifted == {"statement_timeout"}


def test_no_literal_is_in_what_was_read() -> None:
    assert "hunter2" not in repr(traits("update t set password = 'hunter2'"))


def test_what_was_read_holds_until_a_statement_comes() -> None:
    known, facts = KnownTraits(), idle(1.0, statements=3)
    known.keep(facts, Traits(wrote=True))
    assert known.get(idle(9.0, statements=3)) == Traits(wrote=True)
    assert known.get(idle(9.0, statements=4)) is None
    assert known.get(idle(9.0, statements=3, sets=(b"set statement_timeout = 0",))) is None
    known.purge(set())
    assert known.get(facts) is None
