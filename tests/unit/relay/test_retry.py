"""When a statement may be sent a second time."""

import pytest

from poolguard.relay.retry import (
    LONGEST_REPLY,
    Lone,
    is_error,
    is_one_statement,
    lone_statement,
    may_repeat,
    read_answer,
    without_prefix,
)
from poolguard.wire import messages
from tests.support.speech import SYNC, batch, bind, describe, execute, message, parse, query

REFUSAL = messages.error_response("40P01", "deadlock detected", detail="Process 1 waits")
READY = messages.READY[b"I"[0]]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE a SET b = 1",
        "/* route='x' */ insert into a values (1)",
        "DELETE FROM a;",
        "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",
        "SELECT * FROM a FOR UPDATE SKIP LOCKED",
        "select 1 from a for no key update",
        "UPDATE a SET b = 'x; DROP TABLE a'",
    ],
)
def test_one_statement_that_writes_or_locks_may_be_repeated(sql: str) -> None:
    assert may_repeat(sql.encode())


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT f(1)",
        "SELECT ' for update'",
        "CALL p()",
        "DO $$BEGIN END$$",
        "COPY a FROM stdin",
        "VACUUM a",
        "UPDATE a SET b = 1; UPDATE c SET d = 2",
        "WITH x AS (UPDATE a SET b = 1 RETURNING *) SELECT * FROM x",
        "BEGIN",
        "UPDATE a SET b = " + "x" * 9000,
        "UPDATE a SET b = " + "+".join(f"column{n}" for n in range(400)),
    ],
)
def test_anything_else_may_not(sql: str) -> None:
    """supervision: not CALL, DO, COPY, or what can't be read whole."""
    assert not may_repeat(sql.encode())


@pytest.mark.parametrize("before", [b"", message(b"1"), message(b"1") + message(b"2") + message(b"n")])
def test_a_refusal_before_the_first_row_is_recognised(before: bytes) -> None:
    assert read_answer(before + REFUSAL + READY) == ("40P01", True)
    serialization = messages.error_response("40001", "could not serialize access")
    assert read_answer(before + serialization + READY) == ("40001", True)


def test_an_error_without_its_ready_for_query_is_half_an_answer() -> None:
    assert read_answer(message(b"1") + REFUSAL) == ("40P01", False)


@pytest.mark.parametrize(
    "reply",
    [
        messages.error_response("23505", "duplicate key") + READY,
        message(b"D", b"\0\0") + REFUSAL + READY,
        message(b"C", b"UPDATE 1\0") + REFUSAL + READY,
        REFUSAL + messages.READY[b"T"[0]],
        REFUSAL + REFUSAL + READY,
        REFUSAL + READY + READY,
        message(b"N", b"SNOTICE\0\0") + REFUSAL + READY,
        READY,
        message(b"1") * LONGEST_REPLY + REFUSAL + READY,
    ],
)
def test_any_other_answer_goes_to_the_client(reply: bytes) -> None:
    assert read_answer(reply).sqlstate is None


def test_a_batch_that_executes_once_without_a_limit_is_one_statement() -> None:
    assert is_one_statement(batch("UPDATE a SET b = 1"))


@pytest.mark.parametrize(
    "data",
    [
        parse("x") + bind() + execute() + execute() + SYNC,
        parse("x") + bind() + execute(rows=5) + SYNC,
        parse("x") + bind() + describe() + SYNC,
        parse("x") + bind() + bind() + execute() + SYNC,
    ],
)
def test_any_other_batch_is_not(data: bytes) -> None:
    assert not is_one_statement(data)


@pytest.mark.parametrize("prefix", [b"", query("SET a = 1"), query("SET a = 1") + query("SET b = 2")])
def test_what_poolguard_sent_ahead_is_not_sent_again(prefix: bytes) -> None:
    assert without_prefix(prefix + query("UPDATE a"), is_batch=False) == query("UPDATE a")
    assert without_prefix(prefix + batch("UPDATE a"), is_batch=True) == batch("UPDATE a")


@pytest.mark.parametrize(
    ("data", "lone"),
    [
        (query("UPDATE a"), Lone(b"UPDATE a")),
        (batch("UPDATE a"), Lone(b"UPDATE a")),
        (batch("UPDATE a", described=False), Lone(b"UPDATE a")),
        (bind("s") + execute() + SYNC, Lone(b"", b"s")),
        (bind("s") + describe() + execute() + SYNC, Lone(b"", b"s")),
    ],
)
def test_a_statement_alone_is_a_query_or_a_batch_of_one(data: bytes, lone: Lone) -> None:
    """supervision 5.6: one Query, or one [Parse] Bind [Describe] Execute Sync."""
    assert lone_statement(data) == lone


@pytest.mark.parametrize(
    "data",
    [
        b"",
        query("UPDATE a") + query("UPDATE b"),
        query("UPDATE a")[:-1],
        batch("UPDATE a") + SYNC,
        batch("UPDATE a")[:-1],
        bind() + execute() + SYNC,
        parse("UPDATE a", "s") + bind("s") + execute() + SYNC,
        parse("UPDATE a") + bind("s") + execute() + SYNC,
        bind("s") + bind("s") + execute() + SYNC,
        bind("s") + execute() + execute() + SYNC,
        bind("s") + SYNC,
        execute() + SYNC,
        SYNC,
        message(b"B", b"s") + execute() + SYNC,
        message(b"P", b"\0UPDATE a") + bind() + execute() + SYNC,
        bind("s") + execute() + b"S\0\0\0\0",
    ],
)
def test_anything_else_is_not_alone(data: bytes) -> None:
    assert lone_statement(data) is None


@pytest.mark.parametrize("cut", range(len(batch("UPDATE a"))))
def test_what_has_not_come_whole_is_not_alone(cut: int) -> None:
    assert lone_statement(batch("UPDATE a")[:cut]) is None


def test_an_error_behind_completions_is_an_error_and_no_answer_of_rows() -> None:
    assert is_error(REFUSAL + READY)
    assert is_error(message(b"1") + message(b"2") + REFUSAL + READY)
    assert not is_error(message(b"2") + message(b"C", b"UPDATE 1\0") + READY)
    assert not is_error(message(b"2") + message(b"D") + REFUSAL)
    assert not is_error(b"")
