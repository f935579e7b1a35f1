"""Why somebody waited for a server in vain."""

import pytest

from poolguard.guard.clients import ClientKey
from poolguard.guard.incidents import Classification
from poolguard.guard.starvation import classify_starvation, key_of_holder
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from tests.unit.guard.builders import active, idle

PINNED = idle(60.0, phase=Phase.PINNED)


@pytest.mark.parametrize(
    ("holders", "classification"),
    [
        ([], Classification.POOL_UNREACHABLE),
        ([idle(60.0), active(1.0)], Classification.LEAKS_HOLD_POOL),
        ([PINNED, PINNED, idle(60.0)], Classification.PINS_HOLD_POOL),
        ([active(1.0), active(1.0), PINNED], Classification.WORK_HOLDS_POOL),
    ],
)
def test_starvation_is_classified_by_what_most_holders_do(
    holders: list[Transaction], classification: Classification
) -> None:
    assert classify_starvation(holders) is classification


SHOP = key_of_holder(idle(1.0))


def test_a_process_is_told_by_name_user_and_host() -> None:
    assert ClientKey("checkout", "bob", "127.0.0.1") == SHOP


def test_one_process_that_holds_all_and_waits_too_has_deadlocked_itself() -> None:
    holders = [idle(5.0, 1), active(5.0, 2)]
    assert classify_starvation(holders, SHOP, waited=4.9) is Classification.SELF_DEADLOCK
    cron = ClientKey("cron", "bob", "127.0.0.1")
    assert classify_starvation(holders, cron, waited=4.9) is Classification.LEAKS_HOLD_POOL


def test_what_stood_idle_before_anybody_waited_is_a_leak_also_of_the_process_that_waits() -> None:
    holders = [idle(40.0, 1), idle(30.0, 2), idle(10.1, 3)]
    assert classify_starvation(holders, SHOP, waited=10.0) is Classification.LEAKS_HOLD_POOL
    assert classify_starvation(holders[1:], SHOP, waited=10.0) is Classification.LEAKS_HOLD_POOL
    assert classify_starvation(holders[2:], SHOP, waited=10.0) is Classification.SELF_DEADLOCK


def test_a_process_whose_holders_all_work_is_only_slow() -> None:
    assert classify_starvation([active(5.0, 1), active(5.0, 2)], SHOP) is Classification.WORK_HOLDS_POOL


def test_holders_that_wait_for_a_lock_are_a_chain_behind_its_root() -> None:
    holders = [idle(5.0, 1), active(5.0, 2), active(5.0, 3)]
    assert classify_starvation(holders, SHOP, {holders[1].id, holders[2].id}) is Classification.LOCKS_HOLD_POOL
    assert classify_starvation(holders, None, ()) is Classification.WORK_HOLDS_POOL
