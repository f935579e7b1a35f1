"""Transactions that exist only here: deferred, refused, ended."""

import pytest

from poolguard.core.errors import IdleTransactionEnded
from poolguard.relay.block import Block, BlockKind, begin_group
from poolguard.wire.text import Kind
from tests.support.relaying import sqlstates, tags
from tests.support.speech import FLUSH, SYNC, batch, bind, close, describe, execute, parse, query

IDLE, OPEN, FAILED = b"ITE"


def deferred() -> Block:
    return Block(BlockKind.DEFERRED, begin=b"BEGIN", began_at=1.0)


def refused() -> Block:
    block = deferred()
    block.refuse()
    return block


def ended() -> Block:
    return Block(BlockKind.ENDED, error=IdleTransactionEnded("ended: it stood idle"))


def tell(block: Block, data: bytes, prepared: Kind | None = None) -> bytes | None:
    """The replies to all messages in *data*; None as soon as one of them is for PostgreSQL."""
    replies, position = b"", 0
    while position < len(data):
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        reply = block.answer(data[position], data[position + 5 : end], prepared)
        if reply is None:
            return None
        replies += reply
        position = end
    return replies


def heard(block: Block, data: bytes) -> str:
    reply = tell(block, data)
    assert reply is not None, "PostgreSQL should not see this"
    return tags(reply)


@pytest.mark.parametrize("sql", ["COMMIT", "END;", "ROLLBACK", "abort work", "/* x */ commit"])
def test_a_deferred_block_ends_without_a_server(sql: str) -> None:
    """D6."""
    block = deferred()
    assert heard(block, query(sql)) == "CZi"
    assert block.status == IDLE


def test_a_second_begin_is_warned_of_and_the_block_stays_open() -> None:
    """D5."""
    block = deferred()
    reply = tell(block, query("BEGIN"))
    assert reply is not None
    assert tags(reply) == "NCZt"
    assert b"C25001\0" in reply
    assert block.status == OPEN


@pytest.mark.parametrize("sql", ["SAVEPOINT a", "SET LOCAL x = 1", "LISTEN c", "COPY t FROM STDIN", "SELECT 1", ""])
def test_what_does_anything_in_a_deferred_block_is_for_postgresql(sql: str) -> None:
    """D7."""
    block = deferred()
    assert tell(block, query(sql)) is None
    assert tell(deferred(), batch(sql)) is None
    assert block.status == OPEN


def test_prepare_transaction_of_a_deferred_block_is_for_postgresql() -> None:
    assert tell(deferred(), query("PREPARE TRANSACTION 'x'")) is None
    assert tell(deferred(), batch("PREPARE TRANSACTION 'x'")) is None


def test_a_deferred_block_is_committed_by_the_extended_protocol() -> None:
    """D6."""
    block = deferred()
    assert heard(block, batch("COMMIT")) == "12nCZi"
    assert block.status == IDLE


def test_what_follows_the_commit_in_its_batch_is_for_postgresql() -> None:
    block = deferred()
    assert heard(block, parse("COMMIT") + bind() + execute()) == "12C"
    assert tell(block, bind()) is None


def test_a_refused_block_fails_until_rollback() -> None:
    """D8."""
    block = refused()
    reply = tell(block, query("SELECT 1"))
    assert reply is not None
    assert (tags(reply), sqlstates(reply)) == ("EZe", ["25P02"])
    assert heard(block, query("BEGIN")) == "EZe"
    assert heard(block, query("ROLLBACK")) == "CZi"
    assert block.status == IDLE


def test_commit_of_a_refused_block_says_rollback() -> None:
    """D8: as in any failed transaction."""
    reply = tell(refused(), query("COMMIT"))
    assert reply is not None
    assert b"ROLLBACK\0" in reply
    assert tags(reply) == "CZi"


def test_an_ended_block_tells_why_once_then_that_it_is_aborted() -> None:
    """G1."""
    block = ended()
    first, second = tell(block, query("SELECT 1")), tell(block, query("SELECT 1"))
    assert first is not None
    assert second is not None
    assert (tags(first), sqlstates(first)) == ("EZe", ["25P03"])
    assert (tags(second), sqlstates(second)) == ("EZe", ["25P02"])
    assert heard(block, query("ROLLBACK")) == "CZi"


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("sql", ["COMMIT", "end work", "PREPARE TRANSACTION 'x'"])
def test_commit_of_an_ended_block_is_an_error_whenever_it_comes(sql: str, told: bool) -> None:
    """G2."""
    block = ended()
    if told:
        heard(block, query("SELECT 1"))
    reply = tell(block, query(sql))
    assert reply is not None
    assert (tags(reply), sqlstates(reply)) == ("EZi", ["25P03"])
    assert b"ROLLBACK" not in reply
    assert block.status == IDLE


@pytest.mark.parametrize("told", [False, True])
def test_commit_of_an_ended_block_in_the_extended_protocol_is_an_error(told: bool) -> None:
    """G2."""
    block = ended()
    if told:
        heard(block, query("SELECT 1"))
    reply = tell(block, batch("COMMIT"))
    assert reply is not None
    assert (tags(reply), sqlstates(reply)) == ("12nEZi", ["25P03"])


def test_rollback_as_the_first_message_succeeds() -> None:
    """G3."""
    assert heard(ended(), query("ROLLBACK")) == "CZi"
    assert heard(ended(), batch("ROLLBACK")) == "12nCZi"


def test_a_batch_gets_one_error_and_is_skipped_to_sync() -> None:
    """G4, X1: not even a Query is answered before the Sync."""
    block = ended()
    reply = tell(block, parse("SELECT 1") + bind() + FLUSH + query("ROLLBACK") + execute() + SYNC)
    assert reply is not None
    assert (tags(reply), sqlstates(reply)) == ("EZe", ["25P03"])
    assert block.status == FAILED


@pytest.mark.parametrize("sql", ["ROLLBACK TO SAVEPOINT a", "RELEASE a", "ROLLBACK; SELECT 1", "COMMIT AND CHAIN"])
def test_what_does_more_than_end_an_ended_block_fails(sql: str) -> None:
    """G5, G10."""
    assert heard(ended(), query(sql)) == "EZe"
    assert heard(ended(), batch(sql)) == "EZe"


def test_a_prepared_commit_ends_the_block_by_its_name() -> None:
    block = deferred()
    reply = tell(block, bind("done") + execute() + SYNC, Kind.COMMIT)
    assert reply is not None
    assert tags(reply) == "2CZi"
    assert block.status == IDLE


def test_a_prepared_statement_that_ends_nothing_fails_in_an_ended_block() -> None:
    """G4."""
    reply = tell(ended(), bind("other") + execute() + SYNC, Kind.OTHER)
    assert reply is not None
    assert tags(reply) == "EZe"


def test_close_and_sync_alone_say_nothing_of_the_end() -> None:
    block = ended()
    assert heard(block, close("S", "x") + SYNC) == "3Ze"
    assert heard(block, FLUSH) == ""
    assert heard(block, query("SELECT 1")) == "EZe"


def test_a_function_call_fails_in_an_ended_block_and_passes_in_a_deferred_one() -> None:
    assert deferred().answer(b"F"[0], bytes(12)) is None
    reply = ended().answer(b"F"[0], bytes(12))
    assert reply is not None
    assert tags(reply) == "EZe"


def test_a_begin_of_the_extended_protocol_is_one_group_with_its_options() -> None:
    """D2."""
    data = query("x") + batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY DEFERRABLE") + query("SELECT 1")
    start = len(query("x"))
    found = begin_group(data, start, {})
    assert found is not None
    text, replies, end = found
    assert text == b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY DEFERRABLE"
    assert tags(replies) == "12nC"
    assert data[end:] == query("SELECT 1")


def test_start_transaction_is_completed_under_its_own_name() -> None:
    found = begin_group(batch("START TRANSACTION", described=False), 0, {})
    assert found is not None
    assert b"START TRANSACTION\0" in found[1]


def test_a_prepared_begin_is_a_group() -> None:
    found = begin_group(bind("b") + execute() + SYNC, 0, {b"b": b"BEGIN"})
    assert found is not None
    assert found[0] == b"BEGIN"
    assert tags(found[1]) == "2C"


@pytest.mark.parametrize(
    "data",
    [
        batch("BEGIN; SELECT 1"),
        batch("SELECT 1"),
        batch("BEGIN")[:-1],
        parse("BEGIN") + SYNC,
        parse("BEGIN", "named") + bind("named") + execute() + SYNC,
        parse("BEGIN") + bind() + execute() + execute() + SYNC,
        parse("BEGIN") + bind() + execute() + FLUSH + SYNC,
        parse("BEGIN") + bind(portal="p") + execute("p") + SYNC,
        parse("BEGIN") + bind() + bind() + execute() + SYNC,
        bind("unknown") + execute() + SYNC,
        parse("BEGIN") + b"B\0\0\0\1",
        parse("BEGIN") + describe("S", "other") + bind() + execute() + SYNC,
    ],
)
def test_anything_else_than_one_plain_begin_is_for_postgresql(data: bytes) -> None:
    """D3."""
    assert begin_group(data, 0, {}) is None
