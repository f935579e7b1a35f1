"""What a client is told that waited in vain."""

from dataclasses import replace

import pytest

from poolguard.core.errors import PoolExhausted, UpstreamUnavailable
from poolguard.ledger.book import Ledger
from poolguard.ledger.facts import Transaction
from poolguard.pool.state import Refusal
from poolguard.relay.refusal import NAMED_HOLDERS, ROOT_LENGTH, STATEMENT_LENGTH, describe, exhausted
from poolguard.wire.fingerprint import fingerprint
from tests.support.snapshots import holder

NOW = 1000.0


def held(**changes: object) -> Transaction:
    ledger = Ledger()
    holder(ledger, application_name="shop", statements=(b"SELECT * FROM users WHERE mail = 'me@example.com'",))
    return replace(ledger.transactions(NOW)[0], **changes)  # type: ignore[arg-type] # any field


def told(
    *holders: Transaction, reason: Refusal = Refusal.TIMEOUT, down: bool = False, lock_root: str = ""
) -> PoolExhausted:
    return exhausted(
        "app",
        reason,
        5.0,
        size=7,
        waiting=3,
        holders=holders,
        upstream_error=UpstreamUnavailable("connection refused") if down else None,
        lock_root=lock_root,
    )


def test_it_names_pool_wait_size_and_queue() -> None:
    error = told(held())
    assert error.sqlstate == "53300"
    assert error.message.startswith(
        "query_wait_timeout: pool 'app' had no server within 5.0s (size 7, 1 held, 3 waiting); held longest by shop"
    )


def test_a_full_queue_is_told_as_such() -> None:
    assert "has its queue full" in told(reason=Refusal.QUEUE_FULL).message


def test_a_holder_is_named_with_application_address_state_age_and_fingerprint() -> None:
    text = describe(held())
    for fact in ("shop", "127.0.0.1:40000", "4711", "idle in transaction", "for 5.0s", "held for 10.0s", "users"):
        assert fact in text


def test_who_is_at_the_root_of_the_locks_that_holders_wait_for_is_said_last() -> None:
    plain = told(held()).message
    assert told(held(), lock_root='pid 7 ("psql")').message == (
        f'{plain}; most of them wait for locks behind pid 7 ("psql")'
    )
    assert len(told(held(), lock_root="x" * 9999).message) < len(plain) + ROOT_LENGTH + 50


def test_no_literal_survives() -> None:
    error = told(held())
    assert "example" not in error.message + error.detail + error.hint


def test_only_the_oldest_holders_are_named_each_on_a_line() -> None:
    error = told(*(held(application_name=f"app-{number}") for number in range(10)))
    lines = error.detail.splitlines()
    assert len(lines) == NAMED_HOLDERS
    assert lines[0].startswith("held by app-0 ")


def test_a_pin_is_told() -> None:
    assert "pinned by LISTEN" in describe(held(pin="LISTEN"))


@pytest.mark.parametrize(("application", "user", "name"), [("", "bob", "bob"), ("", "", "unnamed client")])
def test_a_client_without_a_name_has_another(application: str, user: str, name: str) -> None:
    assert describe(held(application_name=application, user=user)).startswith(name + " at ")


def test_a_long_statement_is_cut() -> None:
    text = describe(held(statement=b"SELECT " + b"column_name, " * 1000))
    assert len(text) < STATEMENT_LENGTH + 300


def test_without_holders_the_reason_is_postgresql() -> None:
    error = told(down=True)
    assert "PostgreSQL can't be reached: connection refused" in error.message
    assert "can't be reached" not in told(held(), down=True).message


def test_where_texts_are_not_to_be_shown_a_holders_statement_is_its_fingerprint() -> None:
    name = fingerprint(held().statement).id
    shown = describe(held(), shows_text=False)
    assert shown.endswith(f"last statement: {name}")
    assert "users" not in shown
    assert describe(held(statement=b""), shows_text=False).endswith("no statement yet")
