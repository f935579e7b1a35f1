"""Whatever dies, and whenever: one error to whom it concerns, no slot lost, nothing run that was not committed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psycopg
import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.pool.snapshot import CloseReason
from tests.integration.relay.raw import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    Message,
    Raw,
    bind,
    connected,
    copy_data,
    execute,
    parse,
    query,
    rows,
    run,
    tags,
)
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import MODES, SESSION, TRANSACTION, Running, both_modes, running

LONG = "select pg_sleep(600)"
LARGE = "select repeat('x', 1000) from generate_series(1, 100000)"


@pytest.fixture
async def one(database: Database) -> AsyncIterator[Running]:
    """One server a pool, and a table with nothing in it."""
    with database.connect() as admin:
        admin.execute("create table t (a int)")
    async with running(database, both_modes(1)) as started:
        yield started


async def new_client(relay: Running, mode: str) -> Raw:
    raw = await Raw.dial(relay.port)
    greeting = await raw.log_in({"user": "postgres", "database": mode, "application_name": "victim"})
    assert greeting[-1].tag == "Z", greeting
    return raw


def tell(*said: bytes, until: str = "") -> Callable[[Raw], Coroutine[Any, Any, None]]:
    """Get into a state: say each in turn, reading up to ReadyForQuery but for the last, up to *until*."""

    async def get_there(client: Raw) -> None:
        for data in said[:-1]:
            await client.ask(data)
        client.send(said[-1])
        if until:
            await client.until(until)

    return get_there


STATES = {
    "fresh": tell(b""),
    "idle": tell(query("select 1"), until="Z"),
    "active": tell(query(LONG)),
    "active in a transaction": tell(query("begin"), query("insert into t values (1)"), query(LONG)),
    "active by the extended protocol": tell(run("insert into t values (1)") + run(LONG) + SYNC),
    "begun": tell(query("begin"), until="Z"),
    "in a transaction": tell(query("begin"), query("insert into t values (1)"), until="Z"),
    "in a failed transaction": tell(query("begin"), query("insert into t values (1)"), query("select 1/0"), until="Z"),
    "in COPY in": tell(query("copy t from stdin"), until="G"),
    "in COPY in, data sent": tell(query("begin"), query("copy t from stdin") + copy_data("1\n"), until="G"),
    "in COPY in by the extended protocol": tell(run("copy t from stdin") + SYNC, until="G"),
    "in COPY in by the extended protocol, unsynced": tell(run("copy t from stdin") + FLUSH, until="G"),
    "in COPY out": tell(query(f"copy ({LARGE}) to stdout"), until="d"),
    "in a result": tell(query(LARGE), until="D"),
    "in a result by the extended protocol": tell(run(LARGE) + SYNC, until="D"),
    "in a batch without Sync": tell(run("insert into t values (1)") + FLUSH, until="C"),
    "in a batch without Flush": tell(run("insert into t values (1)")),
    "in a batch behind an error": tell(run("insert into t values (1)") + run("select 1/0"), until="E"),
    "in a suspended portal": tell(
        parse("insert into t select generate_series(1, 9) returning a") + bind() + execute(rows=2) + FLUSH, until="s"
    ),
    "pinned": tell(query("set work_mem = '7MB'"), until="Z"),
    "pinned by a lock": tell(query("select pg_advisory_lock(1)"), until="Z"),
    "behind a half message": tell(query("begin"), query("insert into t values (1)"), query("select 1")[:7]),
}
MID_ROW = ("in COPY out", "in a result", "in a result by the extended protocol")
HOLD_NOTHING = ("fresh", "idle", "begun")


async def serves(relay: Running, mode: str, *, within: float = 10.0) -> None:
    """The only server works, holds nothing of anybody, and nobody's work was committed."""
    await relay.at_rest(sessions=0, within=within)
    async with connected(relay.port, mode) as client:
        received = await client.ask(
            query(
                "select count(*), (select count(*) from pg_locks where locktype = 'advisory'), "
                "current_setting('work_mem') from t"
            )
        )
        assert rows(received) == [("0", "0", "4MB")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", STATES)
async def test_a_client_that_vanishes(state: str, mode: str, one: Running) -> None:
    """L3, X19, B3: by RST, with whatever it was in the middle of; its server is cleaned or closed."""
    client = await new_client(one, mode)
    await STATES[state](client)
    await client.writer.drain()
    client.reset()
    await serves(one, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", [state for state in STATES if "active" not in state and "half" not in state])
async def test_a_client_that_says_goodbye(state: str, mode: str, one: Running) -> None:
    """X18: Terminate in the middle of anything that PostgreSQL does not finish first."""
    client = await new_client(one, mode)
    await STATES[state](client)
    client.send(TERMINATE)
    await client.until_closed()
    await client.end()
    await serves(one, mode)


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_said_before_goodbye_is_done(mode: str, one: Running) -> None:
    """As with PostgreSQL: statements that came before Terminate are run, and commit."""
    held_back = parse("insert into t values (3)", "s") + SYNC + bind(name="s") + execute() + SYNC
    for said in (query("insert into t values (1)"), run("insert into t values (2)") + SYNC, held_back):
        client = await new_client(one, mode)
        client.send(said + TERMINATE)
        await client.end()
        await one.at_rest(sessions=0)
    async with connected(one.port, mode) as other:
        assert rows(await other.ask(query("select count(*) from t"))) == [("3",)]


async def told(client: Raw) -> list[Message]:
    """The errors that end a client's conversation."""
    return [received for received in await client.until_closed() if received.tag == "E"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", STATES)
async def test_a_backend_that_is_killed(state: str, mode: str, one: Running, database: Database) -> None:
    """B6, C5: who holds it gets exactly one error, at once, and is closed; who does not never notices."""
    client = await new_client(one, mode)
    with database.connect() as admin:
        await STATES[state](client)
        holds = state not in HOLD_NOTHING or (mode != TRANSACTION and state == "idle")
        if holds:
            await eventually_async(lambda: one.ledger.holders)
        await asyncio.to_thread(kill_backends, admin)
        if holds:
            errors = [e for e in await told(client) if e.sqlstate != "22012"]
            # In the middle of a row nothing can be said.
            assert len(errors) == 1 or (not errors and state in MID_ROW)
            assert all(e.fields["S"] == "FATAL" and e.sqlstate in ("57P01", "08006") for e in errors)
        elif "begun" in state:
            assert tags(await client.ask(query("select 1"))) == "TDC ZT"
        else:
            assert tags(await client.ask(query("select 1"))) == "TDC ZI"
    await client.end()
    await serves(one, mode)


def kill_backends(admin: psycopg.Connection[tuple[object, ...]]) -> None:
    """Kill all of poolguard's, and wait until they are gone."""
    admin.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "single_row"), [(TRANSACTION, True), (TRANSACTION, False), (SESSION, False)])
async def test_a_client_killed_in_a_large_result_a_hundred_times(
    mode: str, single_row: bool, one: Running, database: Database
) -> None:
    """L3: 50 MB in many rows, or in one; nobody is told a byte of it, no slot is lost."""
    size = 50 * 1024 * 1024
    text = f"select repeat('x', 1024) from generate_series(1, {size // 1024})"
    if single_row:
        # PostgreSQL can't be cancelled within a row, which is read to its end each time: at least it is made once.
        text = "select a from large"
        with database.connect() as admin:
            admin.execute("create table large (a text); alter table large alter a set storage external")
            admin.execute(f"insert into large values (repeat('x', {size}))".encode())
    for _ in range(100):
        client = await new_client(one, mode)
        client.send(query(text))
        await client.reader.readexactly(100_000)
        client.reset()
    await serves(one, mode)


async def test_a_client_that_stops_reading_does_not_stop_others(database: Database) -> None:
    """C4: in COPY out; its server waits with it, the other one serves."""
    async with (
        running(database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION) as zombie,
        connected(relay.port, TRANSACTION) as other,
    ):
        zombie.writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport can
        zombie.send(query(f"copy ({LARGE}) to stdout"))
        await eventually_async(lambda: relay.holders())
        for number in range(50):
            assert rows(await other.ask(query(f"select {number}"))) == [(str(number),)]
        zombie.reset()
        await relay.at_rest(sessions=1)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("mode", MODES)
async def test_postgresql_goes_and_comes_back(
    mode: str, crash: bool, pg_control: EmbeddedPostgres, database: Database
) -> None:
    """Who holds a server gets one error; who waits goes on waiting; an idle session never notices."""
    with database.connect() as admin:
        admin.execute("create table t (a int)")
    async with running(database, both_modes(1, wait_timeout=30)) as relay:
        holder = await new_client(relay, mode)
        await holder.ask(query("begin; insert into t values (1)"))
        async with connected(relay.port, mode) as waiter, connected(relay.port, mode) as idle:
            waiter.send(query("select 'waited'"))
            await eventually_async(lambda: relay.pool(mode).state.waiting)
            await asyncio.to_thread(pg_control.kill if crash else pg_control.stop)
            (error,) = await told(holder)
            assert error.sqlstate in ("57P01", "57P02", "08006")
            await holder.end()
            await eventually_async(lambda: relay.pool(mode).last_error)
            await asyncio.to_thread(pg_control.start)
            assert rows(await waiter.until()) == [("waited",)]
            waiter.send(TERMINATE)
            await waiter.until_closed()
            assert tags(await idle.ask(query("select 1"))) == "TDC ZI"
            idle.send(TERMINATE)
            await idle.until_closed()
        await serves(relay, mode)


async def test_a_wait_while_postgresql_is_away_says_so(pg_control: EmbeddedPostgres, database: Database) -> None:
    async with (
        running(database, both_modes(1, wait_timeout=0.3)) as relay,
        connected(relay.port, TRANSACTION) as client,
    ):
        await client.ask(query("select 1"))
        await asyncio.to_thread(pg_control.stop)
        (error, ready) = await client.ask(query("select 1"))
        assert (error.sqlstate, ready.body) == ("53300", b"I")
        assert "PostgreSQL can't be reached" in error.fields["M"]
        await asyncio.to_thread(pg_control.start)
        await eventually_async(lambda: _served(client))


async def _served(client: Raw) -> bool:
    return tags(await client.ask(query("select 1"))) == "TDC ZI"


async def test_copy_that_was_cut_is_not_kept(one: Running) -> None:
    """The client dies in COPY behind a million rows: none of them is there."""
    client = await new_client(one, TRANSACTION)
    client.send(query("copy t from stdin"))
    await client.until("G")
    client.send(copy_data("1\n" * 1_000_000))
    await client.writer.drain()
    client.reset()
    await serves(one, TRANSACTION)
    async with connected(one.port, TRANSACTION) as other:
        other.send(query("copy t from stdin"))
        await other.until("G")
        assert tags(await other.ask(copy_data("1\n"), COPY_DONE)) == "C ZI"


async def test_a_transaction_that_is_cut_right_behind_its_begin_leaves_nothing(one: Running) -> None:
    """The cancel that follows must not end the BEGIN alone, and let the statement behind it run on its own."""
    for turns in range(100):
        client = await new_client(one, TRANSACTION)
        await client.ask(query("begin"))
        client.send(query("insert into t values (1)"))
        for _ in range(turns % 10):
            await asyncio.sleep(0)
        client.reset()
    await serves(one, TRANSACTION)


async def test_a_statement_that_is_cancelled_at_once_never_runs_without_its_parameters(database: Database) -> None:
    """Two clients with a search_path each share one server; one cancels at once, again and again."""
    with database.connect() as admin:
        admin.execute("create schema a; create table a.t (who text); create schema b; create table b.t (who text)")
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, options="-c search_path=a") as one,
        connected(relay.port, TRANSACTION, options="-c search_path=b") as other,
    ):
        for _ in range(100):
            one.send(query("insert into t values ('a')"))
            await asyncio.gather(one.until(), one.cancel(), other.ask(query("insert into t values ('b')")))
    with database.connect() as admin:
        assert admin.execute("select distinct who from a.t").fetchall() in ([], [("a",)])
        assert admin.execute("select who, count(*) from b.t group by 1").fetchall() == [("b", 100)]


async def test_a_client_that_vanishes_right_behind_a_long_statement_does_not_leave_it_running(
    one: Running, database: Database
) -> None:
    """A cancel that PostgreSQL gets before the statement does nothing: it is sent again."""
    for turns in range(40):
        client = await new_client(one, TRANSACTION)
        client.send(query("begin; insert into t values (1)") + query(LONG))
        for _ in range(turns % 8):
            await asyncio.sleep(0)
        client.reset()
        await one.at_rest(sessions=0)
    assert one.pool().closed[CloseReason.DIRTY] == 0
    await serves(one, TRANSACTION)
