"""What keeps a server with its session, until when; and what a pool does that allows none of it."""

from typing import Final

import pytest

from poolguard.settings.model import OnSessionState
from poolguard.settings.model import Pool as PoolSettings
from tests.integration.relay.raw import (
    SYNC,
    bind,
    command_tags,
    connected,
    execute,
    parse,
    query,
    rows,
    run,
    sqlstates,
    tags,
)
from tests.support.cluster import Database
from tests.support.running import TRANSACTION, both_modes, running

MAKE: Final = {
    "set": "set work_mem = '77MB'",
    "role": "set role pg_monitor",
    "config": "select set_config('work_mem', '77MB', false)",
    "hidden": 'select U&"\\0070g_advisory_lock"(79)',
    "lock": "select pg_advisory_lock(79)",
    "table": "create temp table mine (a int)",
    "prepare": "prepare mine as select 1",
    "hold": "declare mine cursor with hold for select 1",
    "seed": "select setseed(0.5)",
    "do": "do $$ begin set work_mem = '77MB'; end $$",
    "strings": "set standard_conforming_strings = off",
}
ENDS: Final = [
    ("set", "reset all"),
    ("lock", "select pg_advisory_unlock_all()"),
    ("table", "discard temp"),
    ("prepare", "deallocate all"),
    ("hold", "close all"),
]


@pytest.mark.parametrize("discard", [query("discard all"), run("discard all") + SYNC], ids=["simple", "extended"])
@pytest.mark.parametrize("name", MAKE)
async def test_a_pin_ends_with_discard_all(name: str, discard: bytes, shared_database: Database) -> None:
    """T8, T10: the server goes back, and the next client finds nothing on it."""
    async with running(shared_database, both_modes(1)) as relay:
        async with connected(relay.port, TRANSACTION) as client:
            await client.ask(query(MAKE[name]))
            assert relay.pool().pinned == 1
            assert command_tags(await client.ask(discard)) == ["DISCARD ALL"]
            assert relay.pool().pinned == 0
            async with connected(relay.port, TRANSACTION) as other:
                left = await other.ask(
                    query("select (select count(*) from pg_locks where locktype = 'advisory')"
                          " + (select count(*) from pg_prepared_statements) + (select count(*) from pg_cursors)"
                          " - 1, current_setting('work_mem'), to_regclass('pg_temp.mine'), current_user")
                )  # fmt: skip
                ((_, work_mem, table, role),) = rows(left)
                assert (work_mem, table, role) == ("4MB", None, "postgres")
            await client.ask(query(MAKE["set"]))
            assert relay.pool().pinned == 1
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize(("name", "end"), ENDS)
async def test_a_pin_ends_with_what_takes_its_only_reason_away(name: str, end: str, shared_database: Database) -> None:
    """T8, T10: but not where there is another, nor in a transaction, nor where it failed."""
    async with running(shared_database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        await client.ask(query(MAKE[name]))
        await client.ask(query("begin"))
        await client.ask(query(end))
        await client.ask(query("rollback"))
        if name in ("hold", "lock"):  # these are gone, whatever becomes of the transaction
            await client.ask(query(MAKE[name]))
        assert relay.pool().pinned == 1
        await client.ask(query(end))
        assert relay.pool().pinned == 0
        await client.ask(query(MAKE[name]), query(MAKE["role"]), times=2)
        await client.ask(query(end))
        assert relay.pool().pinned == 1


@pytest.mark.parametrize("extended", [False, True])
async def test_a_pin_ends_when_the_last_lock_is_given_back(extended: bool, shared_database: Database) -> None:
    """T10: PostgreSQL is asked; what the client says meanwhile comes after."""
    lock, unlock = "select pg_advisory_lock(79)", "select pg_advisory_unlock(79)"

    def said(text: str) -> bytes:
        return run(text) + SYNC if extended else query(text)

    async with running(shared_database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        for _ in range(2):
            await client.ask(said(lock), said(lock), times=2)
            received = await client.ask(said(unlock) + said("select 1"), times=2)
            assert rows(received) == [("t",), ("1",)]
            assert relay.pool().pinned == 1
            received = await client.ask(query("begin") + said(unlock) + said("select 2"), times=3)
            assert rows(received) == [("t",), ("2",)]
            assert relay.pool().pinned == 1
            await client.ask(query("rollback"))
            assert rows(await client.ask(query("select 3"))) == [("3",)]
            await relay.at_rest(sessions=1)
            assert relay.pool().pinned == 0
        await client.ask(said("create temp table mine ()"))
        await client.ask(said(lock))
        await client.ask(said(unlock))
        assert relay.pool().pinned == 1


async def test_a_pin_does_not_end_with_a_discard_that_failed(shared_database: Database) -> None:
    """T9: DISCARD ALL can't run beside another statement; nor does it undo what is sent behind it."""
    async with running(shared_database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        await client.ask(query(MAKE["set"]))
        assert sqlstates(await client.ask(query("select 1; discard all"))) == ["25001"]
        assert sqlstates(await client.ask(run("select 1"), run("discard all"), SYNC)) == ["25001"]
        assert relay.pool().pinned == 1
        await client.ask(query("discard all"), query(MAKE["set"]), times=2)
        assert relay.pool().pinned == 1
        assert rows(await client.ask(query("show work_mem"))) == [("77MB",)]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("name", [name for name in MAKE if name != "strings"])
async def test_a_pool_may_refuse_what_would_pin(
    name: str, begins: bool, extended: bool, shared_database: Database
) -> None:
    """T10: 0A000, the transaction fails, nothing is left, the session goes on."""
    pools = {TRANSACTION: PoolSettings(size=1, on_session_state=OnSessionState.REJECT)}
    async with running(shared_database, pools) as relay, connected(relay.port, TRANSACTION) as client:
        if begins:
            await client.ask(query("begin"))
        asked = run(MAKE[name]) + SYNC if extended else query(MAKE[name])
        received = await client.ask(asked)
        assert tags(received) == ("E ZE" if begins else "E ZI")
        (error,) = [message for message in received if message.tag == "E"]
        assert error.sqlstate == "0A000"
        assert "on_session_state" in error.fields["H"]
        if begins:
            assert sqlstates(await client.ask(query("select 1"))) == ["25P02"]
            assert command_tags(await client.ask(query("rollback"))) == ["ROLLBACK"]
        assert rows(await client.ask(query("show work_mem"))) == [("4MB",)]
        assert relay.pool().pinned == 0
        await relay.at_rest(sessions=1)


async def test_a_refused_statement_ends_its_batch_only(shared_database: Database) -> None:
    """X1: as any error would; and its name is not prepared."""
    pools = {TRANSACTION: PoolSettings(size=1, on_session_state=OnSessionState.REJECT)}
    async with running(shared_database, pools) as relay, connected(relay.port, TRANSACTION) as client:
        batch = run("select 1") + parse(MAKE["table"], "s") + bind(name="s") + execute() + run("select 2") + SYNC
        assert tags(await client.ask(batch + run("select 3") + SYNC, times=2)) == "12TDCE ZI 12TDC ZI"
        assert sqlstates(await client.ask(bind(name="s"), SYNC)) == ["26000"]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("name", [name for name in MAKE if name != "strings"])
async def test_a_pool_may_ignore_what_would_pin(name: str, extended: bool, shared_database: Database) -> None:
    """T10, T11: it is run, and gone with its transaction; nobody else meets it."""
    pools = {TRANSACTION: PoolSettings(size=1, on_session_state=OnSessionState.IGNORE)}
    async with (
        running(shared_database, pools) as relay,
        connected(relay.port, TRANSACTION) as client,
        connected(relay.port, TRANSACTION) as other,
    ):
        await client.ask(query("begin"))
        received = await client.ask(run(MAKE[name]) + SYNC if extended else query(MAKE[name]))
        assert not sqlstates(received)
        await client.ask(query("commit"))
        assert relay.pool().pinned == 0
        for each in (other, client):
            ((work_mem, table, role),) = rows(
                await each.ask(query("select current_setting('work_mem'), to_regclass('pg_temp.mine'), current_user"))
            )
            assert (work_mem, table, role) == ("4MB", None, "postgres")
        assert rows(await other.ask(query("select pg_try_advisory_xact_lock(79)"))) == [("t",)]


async def test_a_sequence_never_tells_what_another_client_drew(shared_database: Database) -> None:
    """T10: at once where the server is still the same; an error where it can't be known; for sure from then on."""
    async with (
        running(shared_database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
    ):
        await one.ask(query("create sequence s"))
        await two.ask(query("select nextval('s')"))
        assert sqlstates(await one.ask(query("select lastval()"))) == ["55000"]
        await one.ask(query("discard all"))
        await one.ask(query("select nextval('s')"))
        assert rows(await one.ask(query("select lastval()"))) == [("2",)]
        assert relay.pool().pinned == 1
        await one.ask(query("discard all"))
        await two.ask(query("begin"))
        await two.ask(query("select nextval('s')"))
        assert rows(await two.ask(parse("select currval('s')"), bind(), execute(), SYNC)) == [("3",)]
        await two.ask(query("commit"))


async def test_literals_that_are_read_in_another_way_pin(shared_database: Database) -> None:
    """T10: however standard_conforming_strings was turned off, no text of the session can be trusted."""
    async with running(shared_database, both_modes(2)) as relay:
        async with connected(relay.port, TRANSACTION, standard_conforming_strings="off"):
            assert relay.pool().pinned == 1
        async with connected(relay.port, TRANSACTION) as client:
            await client.ask(query("create function off() returns void language sql as $$"
                                   " select set_config('standard_conforming_strings', 'off', false) $$"))  # fmt: skip
            await client.ask(query("select off()"))
            assert relay.pool().pinned == 1
            await client.ask(query("set client_min_messages = error; drop function off()"))
