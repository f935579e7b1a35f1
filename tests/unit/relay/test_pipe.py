"""The hot path from PostgreSQL: what is owed, what is kept back, when all has come."""

import time
from typing import cast

import pytest

from poolguard.core.errors import PoolguardError
from poolguard.relay.pipe import BATCH, MAX_SERVER_MESSAGE, PASS, RESETTING, SIMPLE, SWALLOW, SYNC, ServerPipe
from poolguard.relay.replies import Reply
from poolguard.wire.messages import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    PARSE_COMPLETE,
    READY,
    command_complete,
    error_response,
    message,
    parameter_status,
)
from tests.support.fakepg import DESCRIPTION, row
from tests.support.relaying import FakeTransport

BEGUN = command_complete("BEGIN") + READY[b"T"[0]]

IDLE, OPEN, FAILED = b"ITE"
DONE = command_complete("SELECT 1")
ERROR = error_response("22012", "division by zero")
ANSWER = DESCRIPTION + row("one") + DONE


class Guest:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.settlements: list[int] = []
        self.lost: PoolguardError | None = None
        self.transactions_over = 0
        self.resets: list[int] = []
        self.tags: list[bytes] = []

    def deliver(self, data: bytes) -> None:
        self.heard += data

    def settled(self, status: int, now: float) -> None:
        self.settlements.append(status)

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        pass

    def tangled(self) -> None:
        pass

    def synced(self) -> None:
        pass

    def erred(self, fields: dict[str, str]) -> None:
        pass

    def parameter_changed(self, name: str, value: str) -> None:
        pass

    def parameter_given(self, name: str, value: str) -> None:
        pass

    def swallowed(self, tag: bytes) -> None:
        self.tags.append(tag)

    def reset_over(self, status: int) -> None:
        self.resets.append(status)

    def name_of(self, ours: bytes) -> bytes:
        return ours

    def plan_changed(self) -> None:
        pass

    def transaction_over(self) -> None:
        self.transactions_over += 1

    def server_lost(self, error: PoolguardError | None) -> None:
        self.lost = error

    def server_congested(self, *, congested: bool) -> None:
        pass


class Pipe(ServerPipe):
    """A server that notes what it is asked to watch."""

    __slots__ = ("watched",)

    def __init__(self, *owed: int | Reply) -> None:
        super().__init__(FakeTransport(), tls=True)
        self.transport.set_protocol(self)
        self.guest = Guest()
        self.replies.extend(owed)
        self.watched: list[tuple[str, bool]] = []

    def watch(self, tag: int, body: bytes, *, swallowing: bool) -> None:
        self.watched.append((chr(tag), swallowing))

    @property
    def told(self) -> Guest:
        return cast("Guest", self.guest)

    def hear(self, data: bytes, cut: int = 0) -> bytes:
        """Take *data* in pieces of *cut* bytes; what the guest was given."""
        before = len(self.told.heard)
        for at in range(0, len(data), cut or len(data)):
            self.data_received(data[at : at + (cut or len(data))])
        return self.told.heard[before:]


@pytest.mark.parametrize("owed", [SIMPLE, BATCH])
def test_a_whole_reply_is_delivered_and_settles(owed: int) -> None:
    pipe = Pipe(owed)
    assert pipe.hear(ANSWER + READY[OPEN]) == ANSWER + READY[OPEN]
    assert pipe.told.settlements == [OPEN]
    assert pipe.status == OPEN
    assert not pipe.replies


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 7, 13])
@pytest.mark.parametrize(
    ("owed", "said"),
    [
        ([SIMPLE], ANSWER),
        ([BATCH], PARSE_COMPLETE + BIND_COMPLETE + ANSWER),
        ([PASS, PASS, PASS, PASS, SYNC], PARSE_COMPLETE + BIND_COMPLETE + ANSWER),
        ([SIMPLE], row("x" + READY[IDLE].decode()) + DONE),
        ([SIMPLE], ERROR),
        ([PASS, PASS, SYNC], PARSE_COMPLETE + ERROR),
        ([SIMPLE], parameter_status("TimeZone", "UTC") + DONE),
    ],
)
def test_any_cut_gives_the_same_bytes_and_settles_once(owed: list[int], said: bytes, cut: int) -> None:
    """Also of a row that ends in what looks like ReadyForQuery."""
    pipe = Pipe(*owed)
    assert pipe.hear(said + READY[IDLE], cut) == said + READY[IDLE]
    assert pipe.told.settlements == [IDLE]
    assert not pipe.replies
    assert not pipe.mid_row


def test_a_row_that_ends_like_ready_for_query_settles_nothing() -> None:
    pipe = Pipe(SIMPLE)
    tricky = row("x" + READY[IDLE].decode())
    assert pipe.hear(tricky) == tricky
    assert pipe.told.settlements == []
    assert list(pipe.replies) == [SIMPLE]


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_what_was_asked_by_poolguard_itself_is_swallowed(cut: int) -> None:
    pipe = Pipe(SWALLOW, SIMPLE)
    ours = DESCRIPTION + row("ours") + DONE + READY[IDLE]
    assert pipe.hear(ours + ANSWER + READY[OPEN], cut) == ANSWER + READY[OPEN]
    assert pipe.told.settlements == [OPEN]


@pytest.mark.parametrize("owed", [SIMPLE, BATCH])
@pytest.mark.parametrize("cut", [0, 1, 7, len(BEGUN), len(BEGUN) + 3])
def test_the_answer_to_a_deferred_begin_is_not_the_clients(cut: int, owed: int) -> None:
    """Alone, or in one piece with the answer behind it."""
    pipe = Pipe(SWALLOW, owed)
    assert pipe.hear(BEGUN + ANSWER + READY[OPEN], cut) == ANSWER + READY[OPEN]
    assert (pipe.told.settlements, pipe.status, len(pipe.replies)) == ([OPEN], OPEN, 0)


def test_what_only_looks_like_a_begins_answer_is_the_clients() -> None:
    pipe = Pipe(SIMPLE, SIMPLE)
    assert pipe.hear(BEGUN + ANSWER + READY[OPEN]) == BEGUN + ANSWER + READY[OPEN]
    pipe = Pipe(SIMPLE, SIMPLE)
    middle = row("x" * 10) + DONE
    assert pipe.hear(middle[:7]) + pipe.hear(middle[7:] + BEGUN + READY[OPEN]) == middle + BEGUN + READY[OPEN]


def test_a_parameter_or_error_that_is_swallowed_is_watched_as_such() -> None:
    pipe = Pipe(SWALLOW)
    assert pipe.hear(parameter_status("TimeZone", "UTC") + ERROR + READY[IDLE]) == b""
    assert pipe.watched == [("S", True), ("E", True)]
    assert pipe.told.settlements == [IDLE]


def test_only_the_last_ready_for_query_settles() -> None:
    """X4, X5."""
    pipe = Pipe(PASS, SYNC, SIMPLE, SYNC)
    pipe.hear(DONE + READY[IDLE])
    pipe.hear(DONE + READY[OPEN])
    assert pipe.told.settlements == []
    pipe.hear(READY[IDLE])
    assert pipe.told.settlements == [IDLE]


@pytest.mark.parametrize("cut", [0, 1])
def test_an_error_discards_what_is_owed_up_to_sync(cut: int) -> None:
    """X1: what was skipped is undone, the last first; what follows the Sync is not touched."""
    undone: list[str] = []
    first, second = (
        Reply(on_undone=lambda: undone.append("first")),
        Reply(swallow=True, on_undone=lambda: undone.append("second")),
    )
    pipe = Pipe(PASS, first, second, PASS, SYNC, SIMPLE)
    assert pipe.hear(PARSE_COMPLETE + ERROR, cut) == PARSE_COMPLETE + ERROR
    assert undone == ["second", "first"]
    assert list(pipe.replies) == [SYNC, SIMPLE]
    assert not pipe.skipping
    pipe.hear(READY[FAILED] + ERROR + READY[FAILED], cut)
    assert pipe.told.settlements == [FAILED]


def test_an_error_before_any_sync_makes_the_server_skip() -> None:
    """X1, X2: the error goes out at once, though no Sync is there."""
    pipe = Pipe(PASS, PASS)
    assert pipe.hear(ERROR) == ERROR
    assert pipe.skipping
    assert not pipe.replies


def test_a_completion_that_the_client_did_not_ask_for_is_kept_back() -> None:
    pipe = Pipe(Reply(swallow=True), PASS, PASS, SYNC)
    said = BIND_COMPLETE + DONE + READY[IDLE]
    assert pipe.hear(PARSE_COMPLETE + said) == said


@pytest.mark.parametrize("cut", [0, 1, 4])
def test_replies_of_our_own_come_at_their_place(cut: int) -> None:
    """P7."""
    pipe = Pipe(PASS, Reply(local=CLOSE_COMPLETE), PASS, Reply(local=PARSE_COMPLETE), SYNC)
    heard = pipe.hear(BIND_COMPLETE + DONE + READY[IDLE], cut)
    assert heard == BIND_COMPLETE + CLOSE_COMPLETE + DONE + PARSE_COMPLETE + READY[IDLE]
    assert pipe.told.settlements == [IDLE]


def test_a_ready_for_query_that_nothing_asked_for_is_not_delivered_unless_it_may_be() -> None:
    pipe = Pipe()
    assert not pipe.hear(READY[IDLE])
    assert pipe.watched == [("Z", False)]
    assert not pipe.told.settlements


def test_a_long_row_is_passed_on_in_parts() -> None:
    pipe = Pipe(SIMPLE)
    long = row("x" * 100_000)
    assert pipe.hear(long[:50_000]) == long[:50_000]
    halfway = pipe.mid_row
    assert pipe.hear(long[50_000:60_000]) == long[50_000:60_000]
    assert pipe.hear(long[60_000:] + DONE + READY[IDLE]) == long[60_000:] + DONE + READY[IDLE]
    assert (halfway, pipe.mid_row) == (True, False)
    assert pipe.told.settlements == [IDLE]


def test_a_part_of_a_row_that_ends_like_ready_for_query_settles_nothing() -> None:
    pipe = Pipe(SIMPLE)
    tricky = row(READY[IDLE].decode() + "tail")
    pipe.hear(tricky[:-4])
    assert pipe.told.settlements == []
    pipe.hear(tricky[-4:] + DONE + READY[IDLE])
    assert pipe.told.settlements == [IDLE]


def test_half_an_error_is_not_passed_on() -> None:
    pipe = Pipe(SIMPLE)
    assert pipe.hear(ERROR[:-3]) == b""
    assert not pipe.mid_row
    assert pipe.hear(ERROR[-3:]) == ERROR


async def test_a_message_without_end_ends_the_server() -> None:
    pipe = Pipe(SIMPLE)
    pipe.hear(b"E" + (MAX_SERVER_MESSAGE + 1).to_bytes(4, "big"))
    assert pipe.told.lost is not None
    assert "too long" in pipe.told.lost.message


@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("owed", [(SIMPLE,), (SWALLOW,), (PASS, SYNC), (BATCH,)])
@pytest.mark.parametrize("cut", [0, 1])
async def test_a_length_below_four_ends_the_server(length: int, owed: tuple[int, ...], cut: int) -> None:
    """L7: whatever would have followed."""
    pipe = Pipe(*owed)
    pipe.hear(ANSWER + b"D" + length.to_bytes(4, "big") + ANSWER + READY[IDLE], cut)
    assert pipe.told.lost is not None
    assert "message of type" in pipe.told.lost.message


async def test_a_row_longer_than_postgresql_makes_any_ends_the_server() -> None:
    """L7: a length with its first bit set, which PostgreSQL would read as negative."""
    pipe = Pipe(SIMPLE)
    pipe.hear(DESCRIPTION + b"D" + b"\xff\xff\xff\xf0" + bytes(20))
    assert pipe.told.lost is not None


def test_a_long_notice_is_collected_in_time_proportional_to_its_length() -> None:
    """L2, A2: 16 MiB in pieces of 16 KiB, which joined anew each time would be 8 GiB of copying."""
    pipe = Pipe(SIMPLE)
    notice = message(b"N", b"M" + b"x" * (16 << 20) + b"\0\0")
    began = time.process_time()
    assert pipe.hear(notice + DONE + READY[IDLE], 16 << 10) == notice + DONE + READY[IDLE]
    assert time.process_time() - began < 0.5


def test_the_end_of_a_transaction_in_the_middle_of_a_pipeline_is_told() -> None:
    """X4: so that the age of the next one starts anew."""
    pipe = Pipe(SIMPLE, SIMPLE)
    pipe.hear(DONE + READY[IDLE] + DONE + READY[OPEN])
    assert (pipe.told.transactions_over, pipe.told.settlements) == (1, [OPEN])


def test_a_notice_between_guests_is_delivered_without_settling() -> None:
    pipe = Pipe()
    notice = message(b"N", b"SWARNING\0\0")
    assert pipe.hear(notice) == notice
    assert pipe.told.settlements == []


def test_a_guest_that_went_in_mid_reply_hears_no_more() -> None:
    pipe = Pipe(SIMPLE)
    first, other = pipe.told, Guest()
    pipe.hear(row("one"))
    pipe.guest = other
    pipe.hear(DONE + READY[IDLE])
    assert first.heard == row("one")
    assert first.settlements == []
    assert other.settlements == [IDLE]


@pytest.mark.parametrize("owed", [(SIMPLE,), (BATCH,), (PASS, SYNC), (SWALLOW,)])
@pytest.mark.parametrize("cut", [0, 1])
def test_a_ready_for_query_behind_which_values_are_restored_is_kept_back(owed: tuple[int, ...], cut: int) -> None:
    """T8."""
    pipe = Pipe(*owed, RESETTING)
    assert pipe.hear(DONE + READY[OPEN], cut) == (b"" if SWALLOW in owed else DONE)
    assert (pipe.told.resets, pipe.told.settlements) == ([OPEN], [])
    assert pipe.told.tags == ([b"SELECT 1"] if SWALLOW in owed else [])
    assert not pipe.replies
