"""A lock graph as text and as JSON."""

import json

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.locks.backends import Node
from poolguard.guard.locks.graph import LockGraph
from poolguard.guard.locks.tell import as_json, as_text, tree_json, tree_without_text, without_text
from tests.unit.guard.locks.builders import backend, graph_of, wait

ROOT = backend(
    1,
    "idle in transaction",
    sql="UPDATE jobs SET secret = 'hidden' WHERE id = 7",
    application_name="worker",
    user="app",
    state_seconds=34.2,
    pool="jobs",
    transaction=TransactionId(SessionId(12), 3),
)


def graph() -> LockGraph:
    return graph_of(
        [
            wait(2, 1, seconds=12.4, target="transaction 8812"),
            wait(3, 2, seconds=3, mode="", target=""),
            wait(4, 1, seconds=1),
        ],
        ROOT,
        backend(2, sql="UPDATE jobs SET state = 'done'", user="app"),
    )


def test_the_text_names_the_root_and_everybody_behind_it() -> None:
    assert as_text(graph()) == (
        'pid 1 ("worker", user app, pool jobs, transaction 12-3): idle in transaction for 34.2s, '
        "blocks 3 (longest 12.4s, together 16.4s): update jobs set secret = ? where id = ?\n"
        "  Its client began a transaction, took locks and fell silent: find who forgot to end it.\n"
        "├─ pid 2 (user app) waits 12.4s for ShareLock on transaction 8812: update jobs set state = ?\n"
        "│  └─ pid 3 waits 3.0s for a lock\n"
        "└─ pid 4 waits 1.0s for ShareLock\n"
    )


def test_no_literal_gets_out() -> None:
    assert "hidden" not in as_text(graph()) + json.dumps(as_json(graph(), 0.0))


def test_calm_is_said_in_words() -> None:
    assert as_text(LockGraph()) == "Nobody waits for a lock.\n"
    assert "2 wait" in as_text(LockGraph(waiters=2))


def test_a_cycle_is_named() -> None:
    text = as_text(graph_of([wait(1, 2), wait(2, 1)]))
    assert "deadlock in formation: pid 1, pid 2" in text


def test_a_prepared_transaction_is_named_by_its_gid() -> None:
    assert as_text(graph_of([wait(2, Node(0, "order-7"))])).startswith("prepared transaction order-7: ")


def test_what_is_left_out_is_counted() -> None:
    assert "... and 100 more" in as_text(graph_of([wait(pid, 1) for pid in range(2, 602)]))


def test_the_json_has_the_tree_and_whom_to_act_on() -> None:
    values = json.loads(json.dumps(as_json(graph(), 60.0)))
    assert values["time"] == "1970-01-01T00:01:00.000Z"
    assert as_json(LockGraph(), 0.0)["time"] is None, "never read, and not in 1970"
    (tree,) = values["trees"]
    assert tree["class"] == "idle_in_transaction"
    assert tree["root"]["transaction"] == "12-3"
    assert [(row["pid"], row["depth"], row["blocked_by"]) for row in tree["blocked"]] == [
        (2, 1, ["pid 1"]),
        (3, 2, ["pid 2"]),
        (4, 1, ["pid 1"]),
    ]


def test_where_texts_are_not_to_be_shown_fingerprints_stand_for_them() -> None:
    silent = without_text(graph())
    assert ROOT.statement is not None
    name = ROOT.statement.id
    assert f"together 16.4s): {name}\n" in as_text(silent)
    told = as_json(silent, 0.0)
    assert "jobs set" not in json.dumps(told) + as_text(silent)
    assert told["trees"][0]["root"]["statement"] == {"fingerprint": name, "text": name}  # type: ignore[index] # JSON
    assert tree_json(tree_without_text(graph().trees[0])) == tree_json(silent.trees[0])
