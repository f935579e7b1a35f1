"""The hot path from the client: what is plain goes out at once, the rest is left to walk()."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from poolguard.core.errors import ClientViolation
from poolguard.core.ids import SessionId
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.relay.client_pipe import (
    BEGUN,
    NO_BATCH,
    STARTED,
    STATEMENT_BYTES,
    Batch,
    ClientPipe,
    check_length,
    executes_plainly,
    plain_batch,
)
from poolguard.relay.pipe import BATCH, SIMPLE
from tests.support.relaying import FakeTransport
from tests.support.speech import FLUSH, SYNC, TERMINATE, batch, bind, close, describe, execute, message, parse, query

BOUND = bind("known") + execute() + SYNC


class Pipe(ClientPipe):
    """Writes down what it is asked to do."""

    __slots__ = ("asked", "free", "prefix")

    def __init__(self, *servers: Any) -> None:
        self.free = deque(servers)
        entry = SessionEntry(SessionId(1), client_address="unix", connected_at=0.0)
        super().__init__(FakeTransport(), tls=True, entry=entry, take=self._take)
        self.asked: list[tuple[Any, ...]] = []
        self.prefix = b""

    def _take(self) -> Any:
        return self.free.popleft() if self.free else None

    def wait(self, data: bytes, now: float, sql: bytes | None = None, parse: bytes | None = None) -> None:
        self.asked.append(("wait", data, sql, parse))

    def bind(self, data: bytes) -> bool:
        self.asked.append(("bind", data))
        return data == BOUND

    def attach(self, server: Any, now: float) -> bytes:
        self.server = server
        return self.prefix

    def defer(self, begin: bytes, reply: bytes) -> None:
        self.asked.append(("defer", begin, reply))

    def walk(self, data: bytes) -> None:
        self.asked.append(("walk", data))


def server() -> Any:
    sent: list[bytes] = []
    return SimpleNamespace(replies=deque(), skipping=False, unnamed=b"another's", sent=sent, write=sent.append)


def test_a_plain_query_takes_a_server_and_goes_out_as_it_came() -> None:
    one = server()
    pipe = Pipe(one)
    pipe.data_received(query("SELECT 1"))
    assert one.sent == [query("SELECT 1")]
    assert list(one.replies) == [SIMPLE]
    assert pipe.asked == []
    entry = pipe.entry
    assert (entry.statement, list(entry.recent), entry.statements) == (b"SELECT 1", [b"SELECT 1"], 1)
    assert entry.phase is Phase.ACTIVE
    assert one.unnamed is pipe.unnamed is None


def test_a_plain_batch_owes_one_batch_and_is_the_unnamed_statement_of_both() -> None:
    one = server()
    pipe = Pipe(one)
    pipe.data_received(batch("SELECT 1"))
    assert one.sent == [batch("SELECT 1")]
    assert list(one.replies) == [BATCH]
    assert one.unnamed is pipe.unnamed
    assert pipe.unnamed == parse("SELECT 1")


def test_what_a_server_must_be_told_first_goes_in_the_same_write() -> None:
    one = server()
    pipe = Pipe(one)
    pipe.prefix = b"first "
    pipe.data_received(query("SELECT 1"))
    assert one.sent == [b"first " + query("SELECT 1")]


@pytest.mark.parametrize("begun", [False, True])
def test_a_bind_is_walked_unless_it_can_go_by_itself(begun: bool) -> None:
    pipe = Pipe(server())
    if begun:
        pipe.gate = pipe.begun
    other = bind("other") + execute() + SYNC
    pipe.data_received(BOUND)
    pipe.data_received(other)
    assert pipe.asked == [("bind", BOUND), ("bind", other), ("walk", other)]


@pytest.mark.parametrize(
    ("behind", "plain"),
    [
        (describe() + execute() + SYNC, True),
        (execute() + SYNC, True),
        (execute(rows=5) + SYNC, True),
        (execute("portal") + SYNC, True),
        (describe("S", "a") + execute() + SYNC, False),
        (describe() + describe() + execute() + SYNC, True),
        (execute() + execute() + SYNC, False),
        (execute() + describe() + SYNC, False),
        (describe() + SYNC, False),
        (SYNC, False),
        (execute(), False),
        (execute() + FLUSH, False),
        (execute() + SYNC + SYNC, False),
        (bind() + execute() + SYNC, False),
        (describe() + execute() + SYNC + query("SELECT 1"), False),
        (b"", False),
        (b"E", False),
    ],
)
def test_behind_a_bind_only_one_execution_is_plain(behind: bytes, plain: bool) -> None:
    assert executes_plainly(b"before" + behind, 6) is plain


def test_without_a_free_server_it_waits() -> None:
    pipe = Pipe()
    pipe.data_received(batch("SELECT 1"))
    assert pipe.asked == [("wait", batch("SELECT 1"), b"SELECT 1", parse("SELECT 1"))]
    assert pipe.entry.statements == 0


def test_a_begin_takes_no_server() -> None:
    """D1."""
    one = server()
    pipe = Pipe(one)
    pipe.data_received(query("BEGIN"))
    pipe.data_received(query("START TRANSACTION"))
    assert pipe.asked == [("defer", b"BEGIN", BEGUN), ("defer", b"START TRANSACTION", STARTED)]
    assert one.sent == []


def test_a_begin_with_a_statement_is_not_deferred() -> None:
    """D3."""
    pipe = Pipe(server())
    pipe.data_received(query("BEGIN; SELECT 1"))
    assert [what for what, *_ in pipe.asked] in ([], ["walk"])


def test_commit_is_plain_while_a_server_is_held() -> None:
    pipe, one = Pipe(), server()
    pipe.server = one
    pipe.data_received(query("COMMIT"))
    assert one.sent == [query("COMMIT")]


@pytest.mark.parametrize(
    "data",
    [
        query("SELECT 1")[:-1],
        query("SELECT 1") + query("SELECT 2"),
        query("LISTEN a"),
        parse("SELECT 1", "named") + bind("named") + execute() + SYNC,
        SYNC,
        TERMINATE,
        b"Q",
        b"Q\0\0",
        b"Q\xff\xff\xff\xff",
    ],
)
def test_anything_that_is_not_plain_is_walked(data: bytes) -> None:
    one = server()
    pipe = Pipe(one)
    pipe.data_received(data)
    assert pipe.asked == [("walk", data)]
    assert one.sent == []


def test_behind_an_open_batch_another_batch_is_walked() -> None:
    """X7."""
    pipe = Pipe(server())
    pipe.unsynced = True
    pipe.data_received(batch("SELECT 1"))
    assert pipe.asked == [("walk", batch("SELECT 1"))]


def test_a_server_that_skips_to_sync_gets_nothing_by_the_fast_path() -> None:
    """X1."""
    pipe, one = Pipe(), server()
    pipe.server, one.skipping = one, True
    pipe.data_received(query("SELECT 1"))
    assert pipe.asked == [("walk", query("SELECT 1"))]


def test_the_gate_takes_everything_while_there_is_one() -> None:
    pipe = Pipe(server())
    taken: list[bytes] = []
    pipe.gate = taken.append
    pipe.data_received(query("SELECT 1"))
    assert taken == [query("SELECT 1")]
    assert pipe.asked == []


def test_behind_a_deferred_begin_a_plain_query_goes_in_one_write() -> None:
    """D1."""
    one = server()
    pipe = Pipe(one)
    pipe.prefix = query("BEGIN")
    pipe.begun(query("SELECT 1"))
    assert one.sent == [query("BEGIN") + query("SELECT 1")]
    pipe.begun(query("COMMIT"))
    assert pipe.asked == [("walk", query("COMMIT"))]


def test_behind_a_deferred_begin_a_query_waits_for_a_server() -> None:
    """D8."""
    pipe = Pipe()
    pipe.begun(query("SELECT 1"))
    assert pipe.asked == [("wait", query("SELECT 1"), b"SELECT 1", None)]


def test_the_ledger_keeps_the_beginning_of_a_long_statement() -> None:
    one = server()
    pipe = Pipe(one)
    data = query("SELECT " + "x" * (2 * STATEMENT_BYTES))
    pipe.data_received(data)
    assert len(pipe.entry.statement) == STATEMENT_BYTES
    assert one.sent == [data]


@pytest.mark.parametrize("described", [False, True])
def test_the_most_common_batch_is_found_plain(described: bool) -> None:
    data = batch("SELECT $1", described=described)
    found = plain_batch(data, NO_BATCH)
    assert found is not None
    assert (found.sql, found.parse, found.parse_bytes) == (b"SELECT $1", parse("SELECT $1"), len(parse("SELECT $1")))


@pytest.mark.parametrize("described", [False, True])
def test_the_same_statement_again_is_known_by_its_parse(described: bool) -> None:
    first = plain_batch(batch("SELECT $1"), NO_BATCH)
    assert first is not None
    assert plain_batch(batch("SELECT $1", described=described), first) is first
    assert plain_batch(batch("SELECT $1") + SYNC, first) is None
    other = plain_batch(batch("SELECT $1 "), first)
    assert other is not None
    assert other.sql == b"SELECT $1 "


def test_a_client_that_repeats_a_begin_does_not_get_it_past_the_hot_path() -> None:
    """D3, D6: what was found about the text is found again."""
    pipe = Pipe(server())
    for _ in range(2):
        pipe.data_received(batch("BEGIN"))
    assert [what for what, *_ in pipe.asked] == ["walk", "walk"]


def test_a_statement_over_the_bound_is_not_kept_for_the_next_time() -> None:
    pipe = Pipe(server())
    pipe.data_received(batch("SELECT " + "x" * STATEMENT_BYTES))
    assert pipe.last_batch is NO_BATCH


def test_parameters_that_end_like_a_batch_are_parameters() -> None:
    """The length of the Bind decides, not how the bytes end."""
    ending = describe() + execute() + SYNC
    value = b"\0\0" + b"\0\0" + b"\0\1" + len(ending).to_bytes(4, "big") + ending
    whole = message(b"B", value + b"\0\0")
    assert plain_batch(P + whole + ending, NO_BATCH) is not None
    cut = message(b"B", value[:4] + b"\0\1" + (100).to_bytes(4, "big"))
    assert plain_batch(P + cut[:-1] + ending, NO_BATCH) is None


P, B, D, E = parse("SELECT 1"), bind(), describe(), execute()


@pytest.mark.parametrize(
    "data",
    [
        parse("SELECT 1", "n") + B + E + SYNC,
        P + bind("n") + E + SYNC,
        P + bind(portal="p") + E + SYNC,
        P + describe("S") + B + E + SYNC,
        P + B + E,
        P + B + E + FLUSH,
        P + B + E + FLUSH + SYNC,
        P + B + E + SYNC + SYNC,
        P + B + E + SYNC + b"Q",
        P + B + E + close("S") + SYNC,
        P + P + B + E + SYNC,
        P + B + E + message(b"S", b"?"),
        P + B + E + query("x") + SYNC,
        (P + B + E + SYNC)[:-1],
        P,
        b"P\0\0\0\4",
        b"P\0\0\0\0\0\0\0\0\0",
        message(b"P", b"\0no zero byte") + SYNC,
        P + b"B\xff\xff\xff\xff\0\0" + SYNC,
    ],
)
def test_any_other_batch_is_not_plain(data: bytes) -> None:
    """X5, X7 and all that needs a second look."""
    assert plain_batch(data, NO_BATCH) is None
    assert plain_batch(data, Batch(P, b"SELECT 1")) is None


@pytest.mark.parametrize("length", [4, 5, 100])
def test_a_length_within_its_bounds_passes(length: int) -> None:
    check_length(length, 100)


@pytest.mark.parametrize("length", [0, 3])
def test_a_length_that_does_not_count_itself_is_refused(length: int) -> None:
    with pytest.raises(ClientViolation, match="below 4"):
        check_length(length, 100)


def test_a_message_over_the_limit_is_refused_with_the_setting_that_helps() -> None:
    with pytest.raises(ClientViolation) as caught:
        check_length(101, 100)
    assert "limits.message_bytes" in caught.value.hint


def test_it_is_a_protocol_of_asyncio() -> None:
    assert isinstance(Pipe(), asyncio.Protocol)
