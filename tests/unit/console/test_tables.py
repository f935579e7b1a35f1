"""Columns and rows of each answer."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from poolguard.console import tables
from poolguard.console.encoding import TEXT, Value, data_row
from poolguard.console.statements import Topic
from poolguard.console.tables import COLUMNS, Row
from poolguard.core.errors import UpstreamUnavailable
from poolguard.guard.book import IncidentBook
from poolguard.lease.manager import Standing
from poolguard.ledger.book import Ledger
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.state import Refusal
from poolguard.settings.model import Auth, Settings
from tests.support import leases
from tests.support.clock import ManualClock
from tests.support.snapshots import holder, pool_snapshot, session
from tests.unit.guard.locks.builders import backend, graph_of, wait


def told(topic: Topic, rows: Iterable[Row]) -> list[dict[str, Value]]:
    """Rows by the names of their columns; each must fit these."""
    columns = COLUMNS[topic]
    found = list(rows)
    for row in found:
        data_row(columns, (TEXT,) * len(columns), row)
        kinds = {"TEXT": str, "INT8": int, "FLOAT8": float}
        for column, value in zip(columns, row, strict=True):
            assert value is None or isinstance(value, kinds[column.kind.name]), column
    return [dict(zip((column.name for column in columns), row, strict=True)) for row in found]


def test_every_topic_has_columns_and_stands_in_the_help() -> None:
    assert COLUMNS.keys() == set(Topic)
    listed = {str(row["statement"]) for row in told(Topic.HELP, tables.help_rows())}
    assert {f"SHOW {topic.upper()}" for topic in Topic} <= listed
    assert {f"KILL 'ID' {action}" for action in ("CANCEL", "ROLLBACK", "TERMINATE")} <= listed


def test_the_page_lists_what_the_help_does() -> None:
    page = (Path(__file__).parents[3] / "docs" / "console.md").read_text()
    listed = re.findall(r"^\| `((?:SHOW|KILL) [^`]+)` \|", page, flags=re.MULTILINE)
    assert listed == [row["statement"] for row in told(Topic.HELP, tables.help_rows())]


def test_a_pool_shows_its_servers_and_why_none_can_be_opened() -> None:
    away = UpstreamUnavailable("connection refused").message
    [row] = told(Topic.POOLS, tables.pool_rows([pool_snapshot(held=3, waiting=2, last_error=away)]))
    assert (row["name"], row["size"], row["held"], row["waiting"], row["last_error"]) == ("app", 10, 3, 2, away)


def test_a_session_shows_its_transaction_only_while_it_holds_a_server() -> None:
    ledger = Ledger()
    session(ledger, now=990.0, since=995.0)
    held = holder(ledger)
    idle, holding = told(Topic.SESSIONS, tables.session_rows(ledger.facts(1000.0)))
    assert (idle["state"], idle["state_seconds"], idle["transaction"]) == ("idle", 5.0, None)
    assert (holding["transaction"], holding["backend_pid"]) == (str(held.transaction_id), 4711)


def test_a_transaction_shows_its_statement_without_literals() -> None:
    ledger = Ledger()
    holder(ledger, statements=(b"select * from users where token = 'hunter2'",))
    [row] = told(Topic.TRANSACTIONS, tables.transaction_rows(ledger.transactions(1000.0)))
    assert (row["id"], row["state"], row["state_seconds"], row["checkout_seconds"]) == (
        "1-1",
        "idle_in_transaction",
        5.0,
        10.0,
    )
    assert "users" in str(row["statement"])
    assert "hunter2" not in str(row)


def test_a_transaction_without_a_statement_has_none() -> None:
    ledger = Ledger()
    holder(ledger, statements=())
    [row] = told(Topic.TRANSACTIONS, tables.transaction_rows(ledger.transactions(1000.0)))
    assert (row["fingerprint"], row["statement"]) == (None, None)


def test_locks_show_the_root_and_below_it_who_waits() -> None:
    graph = graph_of(
        [wait(2, 1, seconds=3.0, target="relation jobs"), wait(3, 2)],
        backend(1, "idle in transaction", application_name="worker", sql="update jobs set a = 'hunter2'"),
    )
    rows = told(Topic.LOCKS, tables.lock_rows(graph))
    assert [(row["depth"], row["pid"], row["blocked_by"]) for row in rows] == [
        (0, 1, None),
        (1, 2, "pid 1"),
        (2, 3, "pid 2"),
    ]
    assert (rows[0]["application_name"], rows[0]["state"]) == ("worker", "idle in transaction")
    assert (rows[1]["waits_seconds"], rows[1]["lock_on"]) == (3.0, "relation jobs")
    assert "hunter2" not in str(rows)


def test_a_wait_in_vain_shows_who_waited_and_the_oldest_holder() -> None:
    ledger = Ledger()
    holder(ledger, statements=(b"select 'hunter2'",))
    book = IncidentBook(ManualClock(), lambda _: None)
    book.starved("app", 2.5, Refusal.TIMEOUT, ledger.transactions(1000.0))
    [row] = told(Topic.INCIDENTS, tables.incident_rows(book.find()))
    assert (row["kind"], row["pool"], row["outcome"], row["waited_seconds"]) == ("starvation", "app", "timeout", 2.5)
    assert (row["transaction"], row["application_name"]) == ("1-1", "shop")
    assert "hunter2" not in str(row)


def test_an_incident_of_nobody_names_nobody() -> None:
    book = IncidentBook(ManualClock(), lambda _: None)
    book.starved("app", 2.5, Refusal.QUEUE_FULL, [])
    [row] = told(Topic.INCIDENTS, tables.incident_rows(book.find()))
    assert (row["transaction"], row["statement"], row["action"]) == (None, None, None)


def test_a_lease_shows_its_holder_and_what_is_left() -> None:
    free = replace(leases.row(name="b", holder=None), acquired_at=None, renewed_at=None)
    rows = told(Topic.LEASES, tables.lease_rows([Standing(leases.row(), 8.9999), Standing(free, 0.0)]))
    assert (rows[0]["holder"], rows[0]["token"], rows[0]["valid_for_ms"]) == ("pod-1", 7, 8999)
    assert rows[0]["acquire_time"] == "1970-01-01T00:00:00.000Z"
    assert (rows[1]["holder"], rows[1]["renew_time"], rows[1]["step_down_requested"]) == (None, None, "no")


def test_settings_show_which_are_in_force_and_nothing_of_what_is_in_them() -> None:
    settings = Settings(auth=Auth(admin_token="hunter2"))
    current = SettingsInForce(
        settings=settings, hash="abc", source="poolguard.yaml", loaded_at=0.0, warnings=("one", "two")
    )
    rows = list(tables.setting_rows(current))
    assert ("hash", "abc") in rows
    assert ("admin_token_required", "yes") in rows
    assert [value for name, value in rows if name == "warning"] == ["one", "two"]
    assert "hunter2" not in str(rows)
