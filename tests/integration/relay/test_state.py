"""Session state: a client's own is never lost, another's is never seen."""

from typing import NamedTuple

import pytest

from tests.integration.relay.differential import Neighbour
from tests.integration.relay.raw import COPY_DONE, SYNC, Raw, command_tags, connected, query, rows, run, sqlstates, tags
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, both_modes, running


class State(NamedTuple):
    """Something that a session leaves in its server."""

    make: str
    look: str
    """Gives `mine` where the state is there."""


WORK_MEM = "select 'mine' where current_setting('work_mem') = '77MB'"
TABLE = "select 'mine' from pg_class where relname = 'mine' and pg_table_is_visible(oid)"
STATES = {
    "SET": State("set statement_timeout = '77s'", "select 'mine' where current_setting('statement_timeout') = '77s'"),
    "SET of a reported one": State("set timezone = 'Asia/Tokyo'", "select 'mine' where now()::text like '%+09'"),
    "SET SESSION": State("set session work_mem = '77MB'", WORK_MEM),
    "SET by a comment": State("/* x */ set work_mem = '77MB'", WORK_MEM),
    "SET behind another": State("select 1; set work_mem = '77MB'", WORK_MEM),
    "set_config": State("select set_config('work_mem', '77MB', false)", WORK_MEM),
    "search_path": State("set search_path = pg_catalog", "select 'mine' where current_schemas(false) = '{pg_catalog}'"),
    "application_name": State(
        "set application_name = 'its own'", "select 'mine' where current_setting('application_name') = 'its own'"
    ),
    "client_encoding": State(
        "set client_encoding = latin1", "select 'mine' where current_setting('client_encoding') = 'LATIN1'"
    ),
    "read only": State(
        "set default_transaction_read_only = on",
        "select 'mine' where current_setting('default_transaction_read_only') = 'on'",
    ),
    "SET ROLE": State("set role pg_monitor", "select 'mine' where current_user = 'pg_monitor'"),
    "temporary table": State("create temp table mine (a int)", TABLE),
    "SELECT INTO TEMP": State("select 1 as a into temp mine", TABLE),
    "advisory lock": State(
        "select pg_advisory_lock(77)",
        "select 'mine' from pg_locks where locktype = 'advisory' and objid = 77 and pid = pg_backend_pid()",
    ),
    "PREPARE": State("prepare mine as select 1", "select 'mine' from pg_prepared_statements where name = 'mine'"),
    "LISTEN among others": State("select 1; listen mine", "select * from pg_listening_channels()"),
    "WITH HOLD": State(
        "declare mine cursor with hold for select 1", "select 'mine' from pg_cursors where name = 'mine'"
    ),
}


async def look(client: Raw, state: State, *, extended: bool = False) -> bool:
    received = await client.ask(run(state.look), SYNC) if extended else await client.ask(query(state.look))
    assert not sqlstates(received), received
    return rows(received) == [("mine",)]


# The extended protocol takes one statement at a time.
@pytest.mark.parametrize(
    ("name", "extended"),
    [(name, extended) for name in STATES for extended in (False, True) if not extended or ";" not in STATES[name].make],
)
async def test_state_stays_with_its_session(name: str, extended: bool, shared_database: Database) -> None:
    """T1, T5, T7, T10: in transaction mode, over many transactions, with a neighbour who takes servers away."""
    state = STATES[name]
    async with (
        running(shared_database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION) as owner,
        connected(relay.port, TRANSACTION) as other,
    ):
        neighbour = Neighbour(other)
        await owner.ask(run(state.make) + SYNC if extended else query(state.make))
        for _ in range(4):
            await neighbour.moves()
            assert await look(owner, state, extended=extended)
            assert not await look(other, state, extended=extended)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vanishes", [False, True])
@pytest.mark.parametrize("name", STATES)
async def test_state_does_not_outlive_its_session(
    name: str, mode: str, vanishes: bool, shared_database: Database
) -> None:
    """T10, T11: the next client of the only server finds nothing, however the first one left."""
    state = STATES[name]
    async with running(shared_database, both_modes(1)) as relay:
        async with connected(relay.port, mode) as owner:
            await owner.ask(query(state.make))
            assert await look(owner, state)
            if vanishes:
                owner.reset()
            else:
                owner.send(b"X\0\0\0\4")
                await owner.until_closed()
        async with connected(relay.port, mode) as other:
            assert not await look(other, state)
        await relay.at_rest(sessions=0)
        assert relay.pool(mode).pinned == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STATES)
async def test_discard_all_ends_the_state(name: str, mode: str, shared_database: Database) -> None:
    """T8."""
    state = STATES[name]
    async with running(shared_database, both_modes(1)) as relay, connected(relay.port, mode) as owner:
        await owner.ask(query(state.make))
        assert await look(owner, state)
        assert command_tags(await owner.ask(query("discard all"))) == ["DISCARD ALL"]
        for _ in range(2):
            assert not await look(owner, state)


async def test_discard_all_keeps_the_parameters_of_the_login(shared_database: Database) -> None:
    """T8: in transaction mode, where its next server is given them again."""
    async with (
        running(shared_database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, TimeZone="Asia/Seoul") as client,
    ):
        await client.ask(query("set timezone = 'Asia/Tokyo'"))
        await client.ask(query("discard all"))
        assert rows(await client.ask(query("show timezone"))) == [("Asia/Seoul",)]


@pytest.mark.parametrize("end", ["reset all", "begin; set timezone = 'Asia/Tokyo'; reset all"])
async def test_a_role_that_was_asked_for_at_the_login_is_never_anothers(end: str, shared_database: Database) -> None:
    """T8, T11: RESET ALL leaves the role as it is, so that the next one must be rid of it in another way."""
    async with running(shared_database, both_modes(1)) as relay:
        async with connected(relay.port, TRANSACTION, options="-c role=pg_monitor -c work_mem=5MB") as owner:
            await owner.ask(query("begin"))
            await owner.ask(run("reset all"), SYNC)
            await owner.ask(query(end))
            assert rows(await owner.ask(query("select current_user"))) == [("pg_monitor",)]
        async with connected(relay.port, TRANSACTION) as other:
            assert rows(await other.ask(query("select current_user, current_setting('work_mem')"))) == [
                ("postgres", "4MB")
            ]
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reset", ["reset session authorization", "set session authorization default"])
async def test_a_role_that_was_asked_for_at_the_login_outlives_a_reset(
    reset: str, mode: str, shared_database: Database
) -> None:
    """T8: as with PostgreSQL, where it is the one of the login."""
    async with (
        running(shared_database, both_modes(1)) as relay,
        connected(relay.port, mode, options="-c role=pg_monitor") as client,
    ):
        assert tags(await client.ask(query(reset))) == "C ZI"
        assert rows(await client.ask(query("select current_user"))) == [("pg_monitor",)]
        assert tags(await client.ask(run(reset), SYNC)) == "12nC ZI"
        assert rows(await client.ask(query("select current_user"))) == [("pg_monitor",)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vanishes", [False, True])
async def test_a_server_with_an_advisory_lock_is_closed_when_its_client_vanishes(
    mode: str, vanishes: bool, shared_database: Database
) -> None:
    """After a goodbye it is cleaned and used again; in either case the lock is gone."""
    async with running(shared_database, both_modes(1)) as relay:
        async with connected(relay.port, mode) as owner:
            ((_, pid),) = rows(await owner.ask(query("select pg_advisory_lock(78), pg_backend_pid()")))
            if not vanishes:
                owner.send(b"X\0\0\0\4")
                await owner.until_closed()
        async with connected(relay.port, mode) as other:
            # It waits, because PostgreSQL may still be ending the other backend.
            ((_, its_pid),) = rows(await other.ask(query("select pg_advisory_lock(78), pg_backend_pid()")))
        assert (pid == its_pid) is not vanishes


async def test_a_local_setting_pins_nothing(shared_database: Database) -> None:
    """T2: SET LOCAL and SET TRANSACTION end with the transaction."""
    async with running(shared_database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        await client.ask(query("begin"))
        await client.ask(query("set local work_mem = '77MB'"))
        await client.ask(query("set transaction read only"))
        await client.ask(query("commit"))
        await relay.at_rest(sessions=1)
        assert relay.pool().pinned == 0


async def test_set_is_undone_by_a_rollback(shared_database: Database) -> None:
    """T1, A3: a reported parameter follows PostgreSQL's word, also on another server."""
    async with (
        running(shared_database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION, TimeZone="Asia/Seoul") as client,
        connected(relay.port, TRANSACTION) as other,
    ):
        neighbour = Neighbour(other)
        for end, zone in (("rollback", "Asia/Seoul"), ("commit", "Asia/Tokyo")):
            await client.ask(query("begin"))
            await client.ask(query("savepoint a"))
            await client.ask(query("set timezone = 'Asia/Tokyo'"))
            await client.ask(query(end))
            for _ in range(2):
                await neighbour.moves()
                assert rows(await client.ask(query("show timezone"))) == [(zone,)]


PATHS = ("public", '"mine", public', "'$user', \"a b\"", '\'a,b\', "c""d"', "''", '"user",table_of', "Mine,'Mine'")


@pytest.mark.parametrize("extended", [False, True])
async def test_a_search_path_needs_no_server_of_its_own(extended: bool, shared_database: Database) -> None:
    """T1, T3: set once outside of a transaction; it stays as PostgreSQL shows it, and nobody else has it."""
    with shared_database.connect() as direct:
        async with (
            running(shared_database, both_modes(1)) as relay,
            connected(relay.port, TRANSACTION) as client,
            connected(relay.port, TRANSACTION) as other,
        ):
            usual = rows(await other.ask(query("show search_path")))
            for path in PATHS:
                said = f"set search_path to {path}"
                direct.execute(said.encode())
                shown = direct.execute("show search_path").fetchone()
                await client.ask(run(said) + SYNC if extended else query(said))
                for _ in range(2):
                    assert rows(await other.ask(query("show search_path"))) == usual
                    assert rows(await client.ask(query("show search_path"))) == [shown]
            await relay.at_rest(sessions=2)
            assert relay.pool().pinned == 0


@pytest.mark.parametrize("end", ["commit", "rollback", "rollback to a; commit", "set local search_path = c; commit"])
async def test_a_search_path_of_a_transaction_is_what_postgresql_makes_of_it(
    end: str, shared_database: Database
) -> None:
    """T1, T2: on a path that was learnt before; the server is kept unless PostgreSQL reports it (18)."""
    said = ["set search_path = b", "begin", "savepoint a", "set search_path = a", end]
    with shared_database.connect() as direct:
        for text in said:
            direct.execute(text.encode())
        shown = direct.execute("show search_path").fetchone()
        async with (
            running(shared_database, both_modes(2)) as relay,
            connected(relay.port, TRANSACTION) as client,
            connected(relay.port, TRANSACTION) as other,
        ):
            neighbour = Neighbour(other)
            for text in said:
                await client.ask(query(text))
            for _ in range(2):
                await neighbour.moves()
                assert rows(await client.ask(query("show search_path"))) == [shown]
            assert relay.pool().pinned == (direct.info.server_version < 180000)


@pytest.mark.parametrize("reset", ["reset search_path", "set search_path to default", "reset all", "discard all"])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("own", ["", "-c search_path=own"])
async def test_a_search_path_goes_back_to_that_of_the_login(
    reset: str, extended: bool, own: str, shared_database: Database
) -> None:
    """T8."""
    async with (
        running(shared_database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION, options=own) as client,
        connected(relay.port, TRANSACTION) as other,
    ):
        neighbour = Neighbour(other)
        usual = rows(await client.ask(query("show search_path")))
        for _ in range(2):
            await client.ask(query("set search_path = b"))
            await neighbour.moves()
            await client.ask(run(reset) + SYNC if extended else query(reset))
            for _ in range(2):
                await neighbour.moves()
                assert rows(await client.ask(query("show search_path"))) == usual
        await relay.at_rest(sessions=2)
        assert relay.pool().pinned == 0


async def test_a_client_that_leaves_after_copy_leaves_a_clean_server(shared_database: Database) -> None:
    async with running(shared_database, both_modes(1)) as relay:
        async with connected(relay.port, TRANSACTION) as client:
            await client.ask(query("create temp table c (a int)"))
            client.send(query("copy c from stdin"))
            await client.until("G")
            assert tags(await client.ask(COPY_DONE)) == "C ZI"
        await relay.at_rest(sessions=0)
