"""Rows become waits and backends."""

from typing import Any

import pytest

from poolguard.guard.locks.backends import Node
from poolguard.guard.locks.reading import gids_of, target_of, waits_of, waits_of_locks


def blocked(pid: int, *blockers: int, **rest: Any) -> dict[str, Any]:
    base = {"locktype": "transactionid", "relation": None, "xid": "8", "virtualxid": None}
    return {"pid": pid, "blockers": list(blockers), "mode": "ShareLock", "seconds": 2.0} | base | rest


def lock(pid: int | None, mode: str, *, granted: bool, virtual: str = "3/4", on: str = "x") -> dict[str, Any]:
    return blocked(0) | {"object": on, "pid": pid, "mode": mode, "granted": granted, "virtualtransaction": virtual}


def test_a_zero_among_blockers_is_a_prepared_transaction_by_name_if_it_is_known() -> None:
    (known,) = waits_of([blocked(2, 0, 1)], {2: ("g1", "g2")})
    assert known.blockers == (Node(0, "g1"), Node(0, "g2"), Node(1))
    (unknown,) = waits_of([blocked(2, 0)], {})
    assert unknown.blockers == (Node(0, ""),)


def test_one_reading_of_locks_gives_the_same_waits() -> None:
    rows = [
        lock(1, "ExclusiveLock", granted=True),
        lock(2, "ShareLock", granted=False),
        lock(None, "ExclusiveLock", granted=True, virtual="-1/77", on="y"),
        lock(3, "ShareLock", granted=False, on="y"),
    ]
    waits = {wait.pid: wait for wait in waits_of_locks(rows, {"-1/77": "order"})}
    assert waits[2].blockers == (Node(1),)
    assert waits[3].blockers == (Node(0, "order"),)
    assert waits[2].seconds == 2.0


def test_names_of_prepared_transactions_are_found_by_their_virtual_one() -> None:
    rows = [{"pid": 2, "virtualtransaction": "3/7"}, {"pid": 2, "virtualtransaction": "3/7"}]
    assert gids_of(rows, {"3/7": "order"}) == {2: ("order",)}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"locktype": "relation", "relation": "public.a"}, "relation public.a"),
        ({"locktype": "relation", "relation": None}, "a relation of another database"),
        ({"locktype": "transactionid", "relation": None, "xid": "12"}, "transaction 12"),
        ({"locktype": "virtualxid", "relation": None, "virtualxid": "3/1"}, "virtual transaction 3/1"),
        ({"locktype": "tuple", "relation": "public.a"}, "a row of public.a"),
        ({"locktype": "extend", "relation": "public.a"}, "extend of public.a"),
        ({"locktype": "advisory", "relation": None}, "an advisory lock"),
        ({"locktype": "frozenid", "relation": None}, "frozenid"),
    ],
)
def test_what_is_locked_is_said_in_words(row: dict[str, Any], text: str) -> None:
    assert target_of(row) == text
