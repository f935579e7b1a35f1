"""One conversation: messages in, messages out."""

from collections.abc import Iterator

import pytest

from poolguard.console.encoding import Column
from poolguard.console.statements import Kill, Show
from poolguard.console.tables import COLUMNS, KILL_COLUMNS, Row, Table
from poolguard.console.talk import MOST_NAMES, Talk
from poolguard.core.errors import ClientViolation, UnknownPool
from poolguard.wire.framing import FrameSplitter
from tests.support.relaying import errors, sqlstates, tags
from tests.support.speech import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    batch,
    bind,
    close,
    copy_data,
    describe,
    execute,
    message,
    named,
    parse,
    query,
)


class Teller:
    """A conversation over tables of three rows."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.performed: list[Show | Kill] = []
        self.notice = ""
        self.fails = False
        self.talk = Talk(self._perform, self._send)

    async def ask(self, data: bytes) -> bytes:
        heard = len(self.said)
        for tag, body in FrameSplitter(max_body=2**20).feed(data):
            assert await self.talk.hear(tag, body)
        return bytes(self.said[heard:])

    async def _perform(self, command: Show | Kill) -> Table:
        self.performed.append(command)
        if self.fails:
            raise UnknownPool("no transaction 1-1")
        columns = COLUMNS[command.topic] if isinstance(command, Show) else KILL_COLUMNS
        return Table(columns, _rows(columns), self.notice)

    async def _send(self, data: bytes) -> None:
        self.said += data


def _rows(columns: tuple[Column, ...]) -> Iterator[Row]:
    return ((None,) * len(columns) for _ in range(3))


@pytest.fixture
def teller() -> Teller:
    return Teller()


async def test_a_simple_query(teller: Teller) -> None:
    assert tags(await teller.ask(query("show pools;"))) == "TDDDCZi"


async def test_an_empty_query(teller: Teller) -> None:
    assert tags(await teller.ask(query(" ; "))) == "IZi"


async def test_a_batch_of_the_extended_protocol(teller: Teller) -> None:
    assert tags(await teller.ask(batch("SHOW POOLS"))) == "12TDDDCZi"


async def test_a_statement_is_described_before_it_runs(teller: Teller) -> None:
    told = await teller.ask(parse("SHOW POOLS", "s") + describe("S", "s") + FLUSH)
    assert tags(told) == "1tT"
    assert teller.performed == []
    assert tags(await teller.ask(named("s"))) == "2DDDCZi"
    assert tags(await teller.ask(named("s"))) == "2DDDCZi"


async def test_what_has_no_rows_is_described_as_such(teller: Teller) -> None:
    assert tags(await teller.ask(parse("BEGIN") + describe("S") + bind() + describe("P") + SYNC)) == "1tn2nZi"


async def test_an_empty_statement(teller: Teller) -> None:
    assert tags(await teller.ask(batch(""))) == "12nIZi"


async def test_rows_may_be_fetched_in_steps(teller: Teller) -> None:
    start = parse("SHOW POOLS") + bind(portal="p")
    told = await teller.ask(start + execute("p", 2) + execute("p", 2) + execute("p", 2) + SYNC)
    assert tags(told) == "12DDsDCCZi"
    assert len(teller.performed) == 1


async def test_a_block_is_believed_and_changes_nothing(teller: Teller) -> None:
    told = await teller.ask(query("BEGIN") + query("SHOW POOLS") + query("SAVEPOINT a") + query("COMMIT"))
    assert tags(told) == "CZtTDDDCZtCZtCZi"


async def test_an_error_in_a_block_does_not_fail_it(teller: Teller) -> None:
    assert tags(await teller.ask(query("BEGIN") + query("SELECT 1") + query("SHOW POOLS"))) == "CZtEZtTDDDCZt"


async def test_a_portal_lives_to_the_end_of_the_block(teller: Teller) -> None:
    start = batch("BEGIN", described=False) + parse("SHOW POOLS") + bind(portal="p") + SYNC
    assert tags(await teller.ask(start + execute("p", 2) + SYNC)) == "12CZt12ZtDDsZt"
    assert tags(await teller.ask(query("COMMIT"))) == "CZi"
    assert sqlstates(await teller.ask(execute("p") + SYNC)) == ["34000"]


async def test_several_statements_in_one_text_end_with_one_ready(teller: Teller) -> None:
    assert tags(await teller.ask(query("BEGIN; SHOW POOLS; COMMIT"))) == "CTDDDCCZi"


async def test_a_text_with_an_error_does_nothing(teller: Teller) -> None:
    assert tags(await teller.ask(query("SHOW POOLS; SELECT 1"))) == "EZi"
    assert teller.performed == []


async def test_anything_else_is_42601_with_a_hint(teller: Teller) -> None:
    [error] = errors(await teller.ask(query("SELECT 1")))
    assert (error["S"], error["C"]) == ("ERROR", "42601")
    assert "SHOW HELP" in error["H"]


async def test_after_an_error_nothing_counts_until_sync(teller: Teller) -> None:
    told = await teller.ask(parse("SELECT 1") + bind() + describe() + execute() + query("SHOW POOLS") + SYNC)
    assert (tags(told), sqlstates(told)) == ("EZi", ["42601"])
    assert tags(await teller.ask(batch("SHOW POOLS"))) == "12TDDDCZi"


async def test_an_error_while_it_is_done_comes_before_any_row(teller: Teller) -> None:
    teller.fails = True
    assert tags(await teller.ask(query("KILL '1-1' CANCEL"))) == "EZi"
    told = await teller.ask(batch("KILL '1-1' CANCEL"))
    assert (tags(told), sqlstates(told)) == ("12TEZi", ["3D000"])


async def test_a_bind_with_parameters_is_08P01(teller: Teller) -> None:  # noqa: N802 - a SQLSTATE
    told = await teller.ask(parse("SHOW POOLS") + message(b"B", b"\0\0\0\0\0\1\0\0\0\1a\0\0") + execute() + SYNC)
    assert (tags(told), sqlstates(told)) == ("1EZi", ["08P01"])


async def test_several_commands_can_not_be_prepared(teller: Teller) -> None:
    assert sqlstates(await teller.ask(parse("BEGIN; SHOW POOLS") + SYNC)) == ["42601"]


async def test_names_are_taken_until_they_are_closed(teller: Teller) -> None:
    assert tags(await teller.ask(parse("SHOW POOLS", "s") + SYNC)) == "1Zi"
    assert sqlstates(await teller.ask(parse("SHOW POOLS", "s") + SYNC)) == ["42P05"]
    assert tags(await teller.ask(close("S", "s") + parse("SHOW POOLS", "s") + SYNC)) == "31Zi"
    assert sqlstates(await teller.ask(bind("s", "p") + bind("s", "p") + SYNC)) == ["42P03"]


async def test_the_unnamed_are_replaced(teller: Teller) -> None:
    told = await teller.ask(parse("BEGIN") + parse("SHOW POOLS") + bind() + bind() + execute() + SYNC)
    assert tags(told) == "1122DDDCZi"


async def test_names_that_nobody_has(teller: Teller) -> None:
    assert sqlstates(await teller.ask(bind("s") + SYNC)) == ["26000"]
    assert sqlstates(await teller.ask(describe("S", "s") + SYNC)) == ["26000"]
    assert sqlstates(await teller.ask(describe("P", "p") + SYNC)) == ["34000"]
    assert sqlstates(await teller.ask(query("DEALLOCATE s"))) == ["26000"]
    assert tags(await teller.ask(close("S", "s") + close("P", "p") + SYNC)) == "33Zi"


@pytest.mark.parametrize("sql", ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"])
async def test_deallocate_frees_the_name(teller: Teller, sql: str) -> None:
    await teller.ask(parse("SHOW POOLS", "s") + SYNC)
    assert tags(await teller.ask(query(sql))) == "CZi"
    assert sqlstates(await teller.ask(bind("s") + SYNC)) == ["26000"]


async def test_statements_and_portals_have_a_bound(teller: Teller) -> None:
    many = b"".join(parse("BEGIN", f"s{number}") for number in range(MOST_NAMES))
    assert sqlstates(await teller.ask(many + parse("BEGIN", "more") + SYNC)) == ["54000"]
    many = b"".join(bind("s1", f"p{number}") for number in range(MOST_NAMES))
    assert sqlstates(await teller.ask(many + bind("s1", "more") + SYNC)) == ["54000"]


async def test_a_notice_comes_behind_the_rows_and_once(teller: Teller) -> None:
    teller.notice = "these are not all"
    assert tags(await teller.ask(query("SHOW POOLS"))) == "TDDDNCZi"
    told = await teller.ask(parse("SHOW POOLS") + bind(portal="p") + execute("p") + execute("p") + SYNC)
    assert tags(told) == "12DDDNCCZi"


async def test_copy_data_outside_of_a_copy_is_passed_over(teller: Teller) -> None:
    assert await teller.ask(copy_data(b"a") + COPY_DONE) == b""


async def test_functions_are_not_called(teller: Teller) -> None:
    told = await teller.ask(message(b"F", bytes(10)))
    assert (tags(told), sqlstates(told)) == ("EZi", ["0A000"])


async def test_goodbye_ends_it(teller: Teller) -> None:
    assert not await teller.talk.hear(TERMINATE[0], b"")


@pytest.mark.parametrize("tag", [b"p", b"Z", b"!"])
async def test_what_no_client_sends_is_a_violation(teller: Teller, tag: bytes) -> None:
    with pytest.raises(ClientViolation, match="invalid frontend message type"):
        await teller.talk.hear(tag[0], b"")


async def test_result_formats_are_used(teller: Teller) -> None:
    binary = message(b"B", b"\0\0" + bytes(4) + b"\0\1\0\1")
    told = await teller.ask(parse("SHOW VERSION") + binary + describe() + SYNC)
    assert tags(told) == "12TZi"
    assert b"version\0" + bytes(6) + (25).to_bytes(4, "big") + b"\xff" * 6 + b"\0\1" in told
