"""A recorded transaction is judged like the live one was."""

import json
from typing import Any

import pytest

from poolguard.guard.case import Case
from poolguard.guard.explain import explain
from poolguard.guard.history import History
from poolguard.guard.recorded import BadSnapshot, read_snapshot, traits_json
from poolguard.guard.rules import compile_policy
from poolguard.guard.traits import read_traits
from poolguard.web.views import pool_view, statement_view, transaction_view
from tests.support.snapshots import pool_snapshot
from tests.unit.guard.builders import LADDERS, idle

FACTS = idle(70.0, recent=(b"begin", b"update t set a = 'x' /*route='%2Fcheckout'*/"), statement=b"select 1")


def recorded(**changes: Any) -> dict[str, Any]:
    one = {
        **transaction_view(FACTS),
        "recent_statements": [statement_view(sql) for sql in FACTS.recent],
        "traits": traits_json(read_traits(FACTS)),
        **changes,
    }
    pools = [pool_view(pool_snapshot("app", size=10, held=9, waiting=2))]
    whole: dict[str, Any] = json.loads(json.dumps({"pools": pools, "transactions": [one]}))
    return whole


def test_what_was_recorded_is_what_was_there() -> None:
    (case,) = read_snapshot(recorded())
    assert case.traits == read_traits(FACTS)
    assert case.pool is not None
    assert (case.pool.utilisation, case.pool.waiting) == (0.9, 2)
    rules = compile_policy("app", LADDERS)
    live = explain(Case(FACTS, case.pool), rules, History(), 0.0)
    assert explain(case, rules, History(), 0.0) == live


def test_the_list_of_the_api_is_a_snapshot_too_with_what_its_texts_tell() -> None:
    snapshot = {"transactions": [transaction_view(FACTS)], "total": 1, "limit": 100}
    (case,) = read_snapshot(json.loads(json.dumps(snapshot)))
    assert (case.pool, case.traits.wrote, case.traits.text) == (None, None, "select ?")


@pytest.mark.parametrize(
    ("snapshot", "where"),
    [
        ([], "a JSON object"),
        ({"transactions": 5}, "a JSON object"),
        ({"transactions": [{}]}, "transactions[0]"),
        ({"transactions": [None]}, "transactions[0]"),
        (recorded(state="asleep"), "transactions[0]"),
        (recorded(id="x"), "transactions[0]"),
        (recorded(traits={"fingerprint": "x"}), "transactions[0].traits"),
        ({"transactions": [], "pools": [{"name": "app"}]}, "pools[0]"),
    ],
)
def test_anything_else_is_refused_with_its_place(snapshot: object, where: str) -> None:
    with pytest.raises(BadSnapshot) as refused:
        read_snapshot(snapshot)
    assert where in refused.value.message
