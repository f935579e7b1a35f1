"""How a server is made clean, for every combination of facts."""

from itertools import product

import pytest

from poolguard.upstream.reset import CloseIt, Reset, Status, Unclean, Used, plan_reset

BOTH = (False, True)


@pytest.mark.parametrize(
    ("status", "session_state", "advisory_lock", "statements"),
    [
        (Status.IDLE, False, False, ()),
        (Status.IN_TRANSACTION, False, False, ("ROLLBACK",)),
        (Status.FAILED, False, False, ("ROLLBACK",)),
        (Status.IDLE, True, False, ("DISCARD ALL",)),
        (Status.IDLE, False, True, ("DISCARD ALL",)),
        (Status.FAILED, True, True, ("ROLLBACK", "DISCARD ALL")),
        (Status.IN_TRANSACTION, True, False, ("ROLLBACK", "DISCARD ALL")),
    ],
)
def test_only_what_is_needed_is_run(
    status: Status, session_state: bool, advisory_lock: bool, statements: tuple[str, ...]
) -> None:
    plan = plan_reset(Used(status=status, session_state=session_state, advisory_lock=advisory_lock))
    assert plan == Reset(statements)
    assert isinstance(plan, Reset)
    assert plan.forgets_statements is ("DISCARD ALL" in statements)


@pytest.mark.parametrize(("status", "state", "lock", "vanished"), list(product(Status, BOTH, BOTH, BOTH)))
def test_a_busy_server_is_closed_whatever_else_is_true(status: Status, state: bool, lock: bool, vanished: bool) -> None:
    used = Used(status=status, busy=True, session_state=state, advisory_lock=lock, client_vanished=vanished)
    assert plan_reset(used) == CloseIt(Unclean.BUSY)


@pytest.mark.parametrize(("status", "state"), list(product(Status, BOTH)))
def test_a_lock_of_a_client_that_vanished_ends_with_its_backend(status: Status, state: bool) -> None:
    used = Used(status=status, session_state=state, advisory_lock=True, client_vanished=True)
    assert plan_reset(used) == CloseIt(Unclean.ADVISORY_LOCK)


def test_a_client_that_vanished_without_a_lock_leaves_a_usable_server() -> None:
    assert plan_reset(Used(status=Status.IN_TRANSACTION, client_vanished=True)) == Reset(("ROLLBACK",))
