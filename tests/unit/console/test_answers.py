"""From a command to its table."""

import pytest

from poolguard import __version__
from poolguard.console.answers import LEASES_AT_ONCE, Answers, columns_of
from poolguard.console.statements import Kill, Show, Topic
from poolguard.console.tables import KILL_COLUMNS, MOST_ROWS
from poolguard.core.errors import NotAllowed, NotSupported, UnknownPool
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.history import Action
from poolguard.lease.manager import Standing
from tests.support import leases
from tests.support.console import Behind, PlainLeases, asked
from tests.support.snapshots import holder, pool_snapshot, session
from tests.unit.guard.locks.builders import backend, graph_of, wait

LOCAL, FAR = "127.0.0.1:40000", "10.0.0.7:40000"
HELD = Kill(TransactionId(SessionId(1), 1), Action.ROLLBACK)


def answers(behind: Behind, address: str = LOCAL, **options: str) -> Answers:
    return Answers(behind.sources, asked(**options), address)


@pytest.mark.parametrize("topic", list(Topic))
async def test_every_topic_answers_with_the_columns_that_were_promised(topic: Topic) -> None:
    behind = Behind(pools=[pool_snapshot()], leases=PlainLeases([Standing(leases.row(), 8.0)]))
    holder(behind.ledger)
    behind.locks.publish(graph_of([wait(2, 1)], backend(1)), 1.0)
    table = await answers(behind).perform(Show(topic))
    assert table.columns == columns_of(Show(topic))
    assert all(len(row) == len(table.columns) for row in table.rows)


async def test_the_version_is_poolguards() -> None:
    table = await answers(Behind()).perform(Show(Topic.VERSION))
    assert list(table.rows) == [(f"poolguard {__version__}",)]


async def test_transactions_come_oldest_checkout_first() -> None:
    behind = Behind()
    for began_at in (980.0, 970.0, 990.0):
        holder(behind.ledger, began_at=began_at)
    table = await answers(behind).perform(Show(Topic.TRANSACTIONS))
    assert [row[0] for row in table.rows] == ["2-1", "1-1", "3-1"]


@pytest.mark.parametrize("topic", [Topic.SESSIONS, Topic.TRANSACTIONS])
async def test_an_answer_has_a_bound_and_says_so(topic: Topic) -> None:
    behind = Behind()
    for _ in range(MOST_ROWS + 1):
        holder(behind.ledger)
    table = await answers(behind).perform(Show(topic))
    assert len(list(table.rows)) == MOST_ROWS
    assert f"{MOST_ROWS} of {MOST_ROWS + 1}" in table.notice


async def test_what_was_read_stays_while_rows_are_sent() -> None:
    behind = Behind()
    entry = session(behind.ledger)
    table = await answers(behind).perform(Show(Topic.SESSIONS))
    behind.ledger.close_session(entry)
    assert [row[0] for row in table.rows] == [entry.session_id]


async def test_locks_that_nobody_looks_at_are_not_called_none() -> None:
    behind = Behind()
    table = await answers(behind).perform(Show(Topic.LOCKS))
    assert "nothing is known" in table.notice
    behind.locks.connected = True
    assert (await answers(behind).perform(Show(Topic.LOCKS))).notice == ""


async def test_leases_are_read_by_pages_up_to_the_bound() -> None:
    kept = PlainLeases([Standing(leases.row(name=f"{number:04}"), 1.0) for number in range(MOST_ROWS + 50)])
    table = await answers(Behind(leases=kept)).perform(Show(Topic.LEASES))
    assert len(list(table.rows)) == MOST_ROWS
    assert kept.pages == [
        ("" if not at else f"{at - 1:04}", LEASES_AT_ONCE) for at in range(0, MOST_ROWS, LEASES_AT_ONCE)
    ]


async def test_where_leases_are_off_that_is_the_answer() -> None:
    with pytest.raises(NotSupported, match=r"leases\.enabled"):
        await answers(Behind()).perform(Show(Topic.LEASES))


async def test_kill_is_done_as_by_hand_by_who_is_connected() -> None:
    behind = Behind()
    entry = holder(behind.ledger)
    table = await answers(behind).perform(HELD)
    assert table.columns == columns_of(HELD) == KILL_COLUMNS
    assert list(table.rows) == [("1-1", "rollback", "done", "1")]
    assert behind.guard.done == [(entry.transaction_id, Action.ROLLBACK, f"console ({LOCAL})")]


async def test_kill_of_what_is_over_is_an_error() -> None:
    with pytest.raises(UnknownPool):
        await answers(Behind()).perform(HELD)


async def test_kill_without_the_right_touches_nothing() -> None:
    behind = Behind(admin_token="right")
    holder(behind.ledger)
    for refused in (answers(behind), answers(behind, **{"poolguard.admin_token": "wrong"})):
        with pytest.raises(NotAllowed):
            await refused.perform(HELD)
    assert behind.guard.done == []
    await answers(behind, FAR, **{"poolguard.admin_token": "right"}).perform(HELD)
    assert len(behind.guard.done) == 1
