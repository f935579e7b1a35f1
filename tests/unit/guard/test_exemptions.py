"""Whom the guard leaves alone, and which work it never ends."""

from typing import Any

import pytest

from poolguard.guard.case import Case
from poolguard.guard.exemptions import Spared, compile_exempt
from poolguard.guard.history import RuleName
from poolguard.settings.policies import Exempt, Protected
from poolguard.wire.classes import StatementClass
from tests.unit.guard.builders import active, idle

NOBODY: frozenset[StatementClass] = frozenset()
IDLE, AGE, STATEMENT, CHECKOUT = RuleName


def running(sql: str, *before: str, seconds: float = 500.0, **changes: Any) -> Case:
    texts = tuple(text.encode() for text in (*before, sql))
    return Case(active(seconds, recent=texts, statement=texts[-1], statements=len(texts), **changes))


def waiting(*statements: str, seconds: float = 500.0, **changes: Any) -> Case:
    texts = tuple(text.encode() for text in statements)
    return Case(idle(seconds, recent=texts, statement=texts[-1], statements=len(texts), **changes))


@pytest.mark.parametrize(
    ("exempt", "case", "spared"),
    [
        (Exempt(), waiting("select 1", application_name="pg_dump"), Spared.APPLICATION_NAME),
        (Exempt(user=("migrat*",)), waiting("select 1", user="migrator"), Spared.USER),
        (Exempt(), waiting("select 1 /* poolguard:ignore */", "select 2"), Spared.COMMENT),
        (Exempt(user=("x",)), waiting("select 'poolguard:ignore'"), None),
    ],
)
def test_whom(exempt: Exempt, case: Case, spared: Spared | None) -> None:
    assert compile_exempt(exempt).whom(case) is spared


@pytest.mark.parametrize(
    ("case", "measure", "spared"),
    [
        (running("select 1"), STATEMENT, None),
        (running("alter table t add b int"), STATEMENT, Spared.STATEMENT_CLASS),
        (waiting("create table t (a int)", "select 1"), IDLE, Spared.STATEMENT_CLASS),
        (waiting("create temp table t (a int)"), IDLE, None),
        (running("create index concurrently i on t (a)"), AGE, Spared.STATEMENT_CLASS),
        (running("vacuum t"), AGE, Spared.STATEMENT_CLASS),
        (running("copy t from stdin"), STATEMENT, Spared.STATEMENT_CLASS),
        (running("copy t from stdin"), CHECKOUT, None),
        (running("copy t from stdin", "create table t (a int)"), CHECKOUT, Spared.STATEMENT_CLASS),
        (waiting("copy t from stdin"), IDLE, None),
        (waiting("set idle_in_transaction_session_timeout = 0", "select 1"), IDLE, Spared.ZERO_TIMEOUT),
        (running("select 1", sets=(b"set idle_in_transaction_session_timeout = 0",)), STATEMENT, None),
        (running("select 1", sets=(b"set statement_timeout = 0",)), STATEMENT, Spared.ZERO_TIMEOUT),
        (running("select 1", sets=(b"set statement_timeout = 0",)), None, Spared.ZERO_TIMEOUT),
        (running("select 1", sets=(b"set statement_timeout = 0",)), AGE, None),
        (running("select 1", sets=(b"set transaction_timeout = 0",)), AGE, Spared.ZERO_TIMEOUT),
        (
            running("select 1", sets=(b"SET statement_timeout = 0", b"SET idle_in_transaction_session_timeout = 0")),
            CHECKOUT,
            Spared.ZERO_TIMEOUT,
        ),
        (waiting("select id from jobs for update skip locked", seconds=30.0), IDLE, Spared.JOB_POP),
        (waiting("select id from jobs for update skip locked", seconds=60.0), IDLE, None),
    ],
)
def test_what_is_never_ended(case: Case, measure: RuleName | None, spared: Spared | None) -> None:
    assert compile_exempt(Exempt()).what(case, measure, NOBODY) is spared


def test_a_rule_that_names_a_class_may_end_it() -> None:
    case = running("copy t from stdin")
    assert compile_exempt(Exempt()).what(case, None, frozenset({StatementClass.COPY})) is None


def test_everything_can_be_switched_off() -> None:
    nothing = compile_exempt(Exempt(statement_class=(), zero_timeouts=False, job_pop=0.0))
    for case in (
        running("alter table t add b int"),
        running("select 1", sets=(b"set statement_timeout = 0",)),
        waiting("select id from jobs for update skip locked", seconds=1.0),
    ):
        assert nothing.what(case, STATEMENT, NOBODY) is None


def test_protected_classes_are_classes_of_statements() -> None:
    assert {kind.value for kind in Protected} <= {kind.value for kind in StatementClass}
