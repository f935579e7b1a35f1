"""Whatever a client may say, sense or nonsense, for Hypothesis to draw from; and how it is played.

A script is a list of turns. PostgreSQL itself is asked first, turn by turn: it decides when a turn has its answer
(ReadyForQuery, or CopyInResponse), and how many messages that is. Then the same is said to the relay, either turn by
turn, or all at once, cut anywhere.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from tests.integration.relay.differential import Masked, masked
from tests.integration.relay.raw import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Message,
    Raw,
    bind,
    close_portal,
    close_statement,
    connected,
    copy_data,
    copy_fail,
    describe,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    run,
)

SQL: Final = (
    "select 1", "select a from {t} order by a", "select a, 1 / (3 - a) from {t} order by a", "select", "", ";",
    "-- nothing", "selec", "select 1/0", "insert into {t} values (9)", "insert into {t} values (8) returning a",
    "update {t} set a = a + 1 where a > 3", "delete from {t} where a = 2", "select count(*) from {t}",
    "begin", "BEGIN", "begin isolation level repeatable read", "start transaction read only", "commit", "rollback",
    "end", "abort", "commit and chain", "rollback and chain", "savepoint s", "rollback to s", "release s",
    "set work_mem = '5MB'", "set local work_mem = '6MB'", "show work_mem", "reset work_mem",
    "set timezone = 'Asia/Tokyo'", "set local timezone = 'Asia/Seoul'", "show timezone", "reset timezone",
    "set timezone = 'Nowhere/Land'",
    "set search_path = public, nowhere", "set session search_path to 'a b', \"public\" ;", "set search_path to default",
    "set local search_path = public", "reset search_path", "show search_path", "discard all",
    "select set_config('timezone', 'Africa/Cairo', false)", "reset all",
    "set default_transaction_read_only = on", "show transaction_read_only",
    "deallocate all", "deallocate s1", "deallocate nobody",
    "prepare q as select 5", "execute q", "deallocate q",
    "declare c cursor for select a from {t} order by a", "declare h cursor with hold for select a from {t} order by a",
    "fetch 2 from c", "fetch 1 from h", "close c", "close all",
    "copy {t} to stdout", "copy {t} from stdin", "select pg_advisory_lock(1)", "select pg_advisory_unlock_all()",
    "do $$ begin raise notice 'hello'; end $$", "create temp table own (a int) on commit drop",
)  # fmt: skip
TEXTS: Final = (
    "select 1; select 2", "begin; select 1", "select 1; commit", "begin; select 1/0", "insert into {t} values (7); select 1/0",
    "rollback; begin", "commit; select 3", "set timezone = 'Asia/Tokyo'; show timezone", "begin; commit; select 1",
    "copy {t} from stdin; select 4", "select 1; selec",
    "deallocate s1; deallocate s2", "select 5; deallocate s1", "deallocate s2; select 1/0; deallocate s1", "rollback; deallocate s1",
    "begin; deallocate s2; select 1/0", "insert into {t} values (6); deallocate all", "select 1/0; deallocate all",
    "set search_path = public; select 1", "select 1; reset all", "begin; reset search_path; rollback",
    "set timezone = 'Asia/Tokyo'; reset all", "reset all; set timezone = 'Asia/Seoul'", "rollback; reset timezone",
)  # fmt: skip
"""Only for a simple Query: several statements."""

WITH_PARAMETER: Final = (
    "select $1::int + 1",
    "insert into {t} values ($1)",
    "select a from {t} where a < $1 order by a",
)
STATEMENTS: Final = ("s1", "s2")
PORTALS: Final = ("", "", "p1")
INT4PL: Final = 177

_sql = st.sampled_from(SQL)
_statement = st.sampled_from(STATEMENTS)
_portal = st.sampled_from(PORTALS)
_values = st.sampled_from(((), ("4",), ("4",), ("x",), (None,), ("1", "2")))


@dataclass(frozen=True, slots=True)
class Turn:
    """What is said before an answer is waited for."""

    data: bytes
    answers: int
    """ReadyForQuerys that it owes, unless COPY or an end of the connection comes in between."""


def _turn(*said: bytes, answers: int = 1) -> Turn:
    return Turn(b"".join(said), answers)


_message = st.one_of(
    st.builds(parse, _sql, _statement),
    st.builds(parse, st.sampled_from(WITH_PARAMETER), _statement),
    st.builds(lambda values, name, portal: bind(*values, name=name, portal=portal), _values, _statement, _portal),
    st.builds(describe_statement, _statement),
    st.builds(describe, _portal),
    st.builds(execute, _portal, st.sampled_from((0, 0, 1, 2))),
    st.builds(close_portal, _portal),
    st.builds(parse, _sql),
    st.sampled_from((bind() + execute(), describe_statement(), close_statement(), bind("4") + execute())),
    st.just(FLUSH),
)
_named = st.builds(
    lambda name, values, rows: bind(*values, name=name) + describe() + execute(rows=rows) + execute(rows=rows),
    _statement, _values, st.sampled_from((0, 0, 1)),
)  # fmt: skip
_unnamed = st.builds(
    lambda text, values, rows: parse(text) + bind(*values) + execute(rows=rows) + bind(*values) + execute(),
    st.sampled_from((*WITH_PARAMETER, *SQL)), _values, st.sampled_from((0, 0, 1)),
)  # fmt: skip
_part = st.one_of(st.builds(run, _sql), st.builds(run, _sql), _named, _unnamed, _message)
_batch = st.lists(_part, min_size=1, max_size=4).map(b"".join)
_query = st.one_of(st.builds(query, _sql), st.builds(query, st.sampled_from((*SQL, *TEXTS))))

simple = st.one_of(
    st.builds(_turn, _query),
    st.just(_turn(SYNC, query("rollback"), query("discard all"), answers=3)),
    st.builds(lambda name: _turn(SYNC, close_statement(name), SYNC, answers=2), _statement),
)
synced = st.builds(lambda batch: _turn(batch, SYNC), _batch)
several = st.lists(
    st.one_of(_query, _batch.map(lambda batch: batch + SYNC), st.just(SYNC)), min_size=2, max_size=4
).map(lambda said: _turn(*said, answers=len(said)))
unsynced = st.one_of(
    st.builds(lambda batch: _turn(batch, answers=0), _batch),
    st.builds(lambda batch: _turn(batch, FLUSH, answers=0), _batch),
    st.builds(lambda batch, text: _turn(batch, text, answers=0), _batch, _query),
    st.builds(lambda batch, text, more: _turn(batch, text, more, SYNC, answers=0), _batch, _query, _batch),
)
copying = st.sampled_from((
    _turn(query("copy {t} from stdin"), copy_data("10\n"), COPY_DONE),
    _turn(query("copy {t} from stdin"), copy_data("x\n"), copy_data("10\n"), COPY_DONE),
    _turn(run("copy {t} from stdin"), copy_data("10\n1"), copy_data("1\n"), COPY_DONE, SYNC),
    _turn(run("copy {t} from stdin"), copy_data("x\n"), COPY_DONE, SYNC),
    _turn(query("copy {t} from stdin"), copy_fail("no")),
    _turn(copy_data("12\n"), answers=0),
    _turn(copy_data("y\n"), answers=0),
    _turn(COPY_DONE, answers=0),
    _turn(copy_fail("no more"), answers=0),
    _turn(SYNC),
))  # fmt: skip
calling = st.sampled_from((
    _turn(function_call(INT4PL, b"\0\0\0\1", b"\0\0\0\2")),
    _turn(function_call(4_000_000)),
))  # fmt: skip


turns = st.lists(
    st.one_of(simple, synced, simple, synced, several, unsynced, copying, calling), min_size=1, max_size=10
)

_NAME: Final = re.compile(r'(?<=prepared statement )".*"')
END: Final = "that was all"
LAST: Final = copy_fail("the script is over") + SYNC + query(f"rollback; do $$ begin raise notice '{END}'; end $$")
"""Brings a connection out of whatever it is in; the notice is the last that it has to say."""


def filled(data: bytes, table: str) -> bytes:
    """*data* with the table's name in the place of `{t}`, which must be as long: lengths stay."""
    assert len(table) == len("{t}"), table
    return data.replace(b"{t}", table.encode())


async def ask_postgresql(
    port: int, database: str, said: Sequence[Turn], table: str
) -> tuple[list[list[Message]], bool]:
    """The answer to each turn, and to LAST; and whether the connection lasted to the end.

    A turn that owes no answer has none here: it comes with the next one's.
    """
    async with connected(port, database) as client:
        answers: list[list[Message]] = []
        copying = False
        for turn in said:
            client.send(filled(turn.data, table))
            answer: list[Message] = []
            left = turn.answers
            # In COPY a Sync may be answered or not: the answer is read with what follows.
            while left and not copying:
                got = await client.until("ZG")
                answer += got
                if not got or got[-1].tag not in "ZG":
                    return [*answers, answer], False
                copying = got[-1].tag == "G"
                left -= 1
            copying = copying or any(m.tag == "G" for m in answer)
            answers.append(answer)
            if copying or not turn.answers:
                copying = True  # until the end nobody knows: everything else is read at once
        client.send(LAST)
        rest, ended = await until_the_end(client)
        return [*answers, rest], ended


async def until_the_end(client: Raw) -> tuple[list[Message], bool]:
    """Everything up to what LAST brings; and whether that came."""
    received: list[Message] = []
    while True:
        got = await client.until()
        received += got
        if not got or got[-1].tag != "Z":
            return received, False
        if any(m.tag == "N" and m.fields["M"] == END for m in got):
            return received, True


async def in_turns(
    client: Raw, said: Sequence[Turn], table: str, answers: Sequence[Sequence[Message]]
) -> tuple[list[Message], bool]:
    """Say one turn after the other, each when the last has been answered as PostgreSQL did."""
    received: list[Message] = []
    for turn, answer in zip(said, answers, strict=False):
        client.send(filled(turn.data, table))
        for _ in answer:
            got = await client.receive()
            if got is None:
                return received, False
            received.append(got)
        await asyncio.sleep(0)
    client.send(LAST)
    rest, ended = await until_the_end(client)
    return received + rest, ended


async def at_once(client: Raw, said: Sequence[Turn], table: str, cuts: Sequence[int]) -> tuple[list[Message], bool]:
    """Say everything without waiting, cut at *cuts* (bytes, taken modulo the length)."""
    data = filled(b"".join(turn.data for turn in said) + LAST, table)
    position = 0
    for cut in sorted({cut % len(data) for cut in cuts} | {len(data)}):
        client.send(data[position:cut])
        position = cut
        await asyncio.sleep(0)
    return await until_the_end(client)


def same(expected: Sequence[Message], lasted: bool, received: Sequence[Message], ended: bool) -> None:
    """What was *received* is what PostgreSQL said; of a connection that it ended itself, as far as both could read."""
    assert ended == lasted, (lasted, ended, masked(received)[-3:])
    wanted, got = _nameless(masked(expected)), _nameless(masked(received))
    if not lasted:
        size = min(len(wanted), len(got))
        wanted, got = _certain(wanted[:size]), _certain(got[:size])
    for place, (mine, theirs) in enumerate(zip(got, wanted, strict=False)):
        assert mine == theirs, f"at {place}, behind {''.join(tag for tag, _ in wanted[:place])}: {mine}, not {theirs}"
    assert got == wanted


def _nameless(messages: list[Masked]) -> list[Masked]:
    """Without names in errors: behind a pipelined DEALLOCATE or DISCARD ALL the client's name is not known any more."""
    return [
        (tag, told | {"M": _NAME.sub("...", told["M"])}) if isinstance(told, dict) else (tag, told)
        for tag, told in messages
    ]


def _certain(messages: list[Masked]) -> list[Masked]:
    return [message for message in messages if message[0] != "E"]
