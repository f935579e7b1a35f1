"""Each key of `when`: what holds it, since when, and what was found."""

from dataclasses import fields
from typing import Any

import pytest

from poolguard.guard.case import Case
from poolguard.guard.conditions import READS_STATEMENTS, Condition, compile_when
from poolguard.guard.incidents import PoolState
from poolguard.guard.traits import Traits
from poolguard.ledger.entries import Phase
from poolguard.settings.matching import Isolation, RuleState, When
from poolguard.wire.classes import StatementClass
from tests.unit.guard.builders import active, idle, transaction

BUSY = PoolState(
    size=10,
    idle=0,
    held=9,
    opening=0,
    waiting=3,
    oldest_wait_seconds=4.0,
    sessions=20,
    pinned=0,
    utilisation=0.9,
)
TRAITS = Traits(
    fingerprint="0123456789abcdef",
    text="select * from orders where id = ?",
    latest=frozenset({StatementClass.READ}),
    wrote=False,
    savepoint=True,
    isolation="serializable",
    tags={"route": "/checkout"},
)


def only(when: When) -> Condition:
    (condition,) = compile_when(when)
    return condition


CASES: list[tuple[When, Case, bool, float]] = [
    (When(pool=("a*",)), Case(idle(5.0)), True, 6.0),
    (When(pool=("jobs", "election")), Case(idle(5.0)), False, 0.0),
    (When(user=("BOB",)), Case(idle(5.0)), False, 0.0),
    (When(user=("b?b",)), Case(idle(5.0)), True, 6.0),
    (When(database=("shop",)), Case(idle(5.0)), True, 6.0),
    (When(application_name=("checkout",)), Case(idle(5.0)), True, 6.0),
    (When(client_address=("127.0.0.0/8",)), Case(idle(5.0)), True, 6.0),
    (When(client_address=("10.0.0.0/8", "unix")), Case(idle(5.0)), False, 0.0),
    (When(client_address=("unix",)), Case(idle(5.0, client_address="unix")), True, 6.0),
    (When(client_address=("::1",)), Case(idle(5.0, client_address="[::1]:5000")), True, 6.0),
    (When(state=(RuleState.IDLE_IN_TRANSACTION,)), Case(idle(5.0)), True, 5.0),
    (When(state=(RuleState.ACTIVE,)), Case(idle(5.0)), False, 0.0),
    (When(idle_for="3s"), Case(idle(5.0)), True, 2.0),
    (When(idle_for="3s"), Case(active(5.0)), False, 0.0),
    (When(idle_for="<3s"), Case(idle(2.0)), True, 2.0),
    (When(transaction_age=">4s"), Case(idle(5.0)), True, 2.0),
    (When(transaction_age="1s"), Case(transaction(phase=Phase.PINNED)), False, 0.0),
    (When(statement_age="5s"), Case(active(5.0)), True, 0.0),
    (When(statement_age="0s"), Case(idle(5.0)), False, 0.0),
    (When(checkout_age="1s"), Case(transaction(phase=Phase.PINNED)), True, 4.0),
    (When(statements=">2"), Case(idle(5.0)), False, 0.0),
    (When(statements="2"), Case(idle(5.0)), True, 0.0),
    (When(blocking="1"), Case(idle(5.0)), False, 0.0),
    (When(blocking="1"), Case(idle(5.0, blocking=2, blocking_seconds=3.0)), True, 3.0),
    (When(blocking="2"), Case(idle(5.0, blocking=2, blocking_seconds=3.0)), True, 0.0),
    (When(blocking_for="1s"), Case(idle(5.0, blocking=1, blocking_seconds=3.0)), True, 2.0),
    (When(blocking_for="0s"), Case(idle(5.0)), False, 0.0),
    (When(pool_utilisation=">=0.9"), Case(idle(5.0), BUSY), True, 0.0),
    (When(pool_utilisation="<2"), Case(idle(5.0)), False, 0.0),
    (When(waiters=">3"), Case(idle(5.0), BUSY), False, 0.0),
    (When(oldest_wait="4s"), Case(idle(5.0), BUSY), True, 0.0),
    (When(wrote=False), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(wrote=True), Case(idle(5.0), traits=Traits(wrote=None)), True, 5.0),
    (When(wrote=False), Case(idle(5.0), traits=Traits(wrote=None)), False, 0.0),
    (When(savepoint=True), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(savepoint=False), Case(idle(5.0), traits=Traits(savepoint=None)), False, 0.0),
    (When(isolation=(Isolation.SERIALIZABLE,)), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(statement_class=(StatementClass.READ,)), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(statement_class=(StatementClass.WRITE,)), Case(idle(5.0), traits=TRAITS), False, 0.0),
    (When(fingerprint=("0123456789abcdef",)), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(statement="from orders\\b"), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(statement="^from"), Case(idle(5.0), traits=TRAITS), False, 0.0),
    (When(tags={"route": "/c*"}), Case(idle(5.0), traits=TRAITS), True, 5.0),
    (When(tags={"other": "*"}), Case(idle(5.0), traits=TRAITS), False, 0.0),
]


@pytest.mark.parametrize(("when", "case", "holds", "seconds"), CASES)
def test_what_holds_a_key_and_since_when(when: When, case: Case, holds: bool, seconds: float) -> None:
    condition = only(when)
    assert condition.holds(case) is holds
    assert condition.found(case) != ""
    if holds:
        assert condition.held_for(case) == pytest.approx(seconds)


def test_every_key_is_asked_and_those_that_need_statements_last() -> None:
    covered = {key for when, *_ in CASES for key in when.keys()}  # noqa: SIM118 - a method, not a mapping
    assert covered == {key.name for key in fields(When)}
    whole: dict[str, Any] = {key: getattr(when, key) for when, *_ in CASES for key in when.keys()}  # noqa: SIM118
    keys = [condition.key.partition(".")[0] for condition in compile_when(When(**whole))]
    first = min(index for index, key in enumerate(keys) if key in READS_STATEMENTS)
    assert set(keys[first:]) <= READS_STATEMENTS


def test_going_to_and_fro_between_active_and_idle_must_be_watched() -> None:
    both = only(When(state=(RuleState.ACTIVE, RuleState.IDLE_IN_TRANSACTION)))
    assert both.holds(Case(idle(5.0)))
    assert both.watched


def test_a_floor_is_what_no_younger_checkout_can_reach() -> None:
    assert [only(when).floor for when in (When(idle_for="3s"), When(idle_for="<3s"), When(waiters="1"))] == [3, 0, 0]
