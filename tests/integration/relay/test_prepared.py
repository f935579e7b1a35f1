"""Prepared statements of the protocol, where more than one client or server takes part."""

import pytest

from poolguard.settings.model import Pool as PoolSettings
from tests.integration.relay.differential import Neighbour
from tests.integration.relay.raw import (
    SYNC,
    bind,
    close_statement,
    command_tags,
    connected,
    describe_statement,
    execute,
    parse,
    query,
    rows,
    run,
    sqlstates,
    tags,
)
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running


@pytest.mark.parametrize("size", [1, 2])
async def test_one_name_means_to_each_client_what_it_prepared(size: int, database: Database) -> None:
    """P1: also on a server that has both."""
    async with (
        running(database, both_modes(size)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
    ):
        await one.ask(parse("select 'one'", "s"), SYNC)
        await two.ask(parse("select 'two'", "s"), SYNC)
        for _ in range(3):
            assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("one",)]
            assert rows(await two.ask(bind(name="s"), execute(), SYNC)) == [("two",)]
        assert tags(await one.ask(parse("select 1", "only one's"), SYNC)) == "1 ZI"
        assert sqlstates(await two.ask(bind(name="only one's"), SYNC)) == ["26000"]


async def test_the_unnamed_statement_of_another_is_never_run(database: Database) -> None:
    """P1, P16: Parse and Bind in different batches, another client's in between, on one server."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
    ):
        await one.ask(parse("select 'one'"), SYNC)
        await two.ask(parse("select 'two'"), SYNC)
        for _ in range(2):
            assert rows(await one.ask(bind(), execute(), SYNC)) == [("one",)]
            assert rows(await two.ask(bind(), execute(), SYNC)) == [("two",)]
        await two.ask(query("select 3"))
        assert sqlstates(await two.ask(bind(), execute(), SYNC)) == ["26000"], "a Query drops it"
        assert rows(await one.ask(bind(), execute(), SYNC)) == [("one",)]


@pytest.mark.parametrize("mode", MODES)
async def test_a_name_is_not_taken_twice(mode: str, relay: Running) -> None:
    """P2: 42P05, and the first meaning stands."""
    async with connected(relay.port, mode) as client:
        await client.ask(parse("select 1", "s"), SYNC)
        assert sqlstates(await client.ask(parse("select 2", "s"), SYNC)) == ["42P05"]
        assert sqlstates(await client.ask(parse("select 2", "t"), parse("select 3", "t"), SYNC)) == ["42P05"]
        assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
        assert rows(await client.ask(bind(name="t"), execute(), SYNC)) == [("2",)]


async def test_more_statements_than_a_server_keeps(database: Database) -> None:
    """P5: eviction in the middle of batches; no reply of a Close that nobody asked for."""
    pools = {TRANSACTION: PoolSettings(size=1, prepared_statements=3)}
    async with running(database, pools) as relay, connected(relay.port, TRANSACTION) as client:
        names = [f"s{number}" for number in range(10)]
        for name in names:
            assert tags(await client.ask(parse(f"select '{name}'", name), describe_statement(name), SYNC)) == "1tT ZI"
        for _ in range(2):
            for name in names:
                assert rows(await client.ask(bind(name=name), execute(), SYNC)) == [(name,)]
        batch = b"".join(bind(name=name) + execute() for name in names)
        received = await client.ask(batch, SYNC)
        assert rows(received) == [(name,) for name in names]
        assert tags(received) == "2DC" * 10 + " ZI"
        received = await client.ask(query("select count(*) from pg_prepared_statements"))
        assert int(rows(received)[0][0] or "") <= 3


async def test_a_cached_plan_of_a_changed_table_heals_by_a_retry(relay: Running) -> None:
    """P12: 0A000 once, then the statement is prepared anew."""
    async with connected(relay.port, TRANSACTION) as client:
        await client.ask(query("create table t (a int); insert into t values (1)"))
        await client.ask(parse("select * from t", "s"), bind(name="s"), execute(), SYNC)
        await client.ask(query("alter table t add column b int"))
        assert sqlstates(await client.ask(bind(name="s"), execute(), SYNC)) == ["0A000"]
        assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("1", None)]


async def test_a_changed_table_is_told_to_every_client_that_knew_its_columns(database: Database) -> None:
    """P12: once to each, on whatever server, also where another client's statement has healed already."""
    async with (
        running(database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
        connected(relay.port, TRANSACTION) as three,
    ):
        await one.ask(query("create table t (a int); insert into t values (1)"))
        for client in (one, two):
            await client.ask(parse("select * from t", "s"), describe_statement("s"), SYNC)
        await one.ask(query("alter table t add column b int"))
        neighbour = Neighbour(three)
        for client in (one, two):
            assert sqlstates(await client.ask(bind(name="s"), execute(), SYNC)) == ["0A000"]
            for _ in range(2):
                await neighbour.moves()
                assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("1", None)]


async def test_one_text_means_to_each_client_the_tables_of_its_search_path(database: Database) -> None:
    """P13: with columns of other types, on one server."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, options="-c search_path=one") as one,
        connected(relay.port, TRANSACTION, options="-c search_path=two") as two,
    ):
        await one.ask(query("create schema one; create table one.t as select 1 as a"))
        await one.ask(query("create schema two; create table two.t as select 'b'::text as b, 'c'::text as c"))
        for client in (one, two):
            await client.ask(parse("select * from t", "s"), SYNC)
        for _ in range(2):
            assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
            assert rows(await two.ask(bind(name="s"), execute(), SYNC)) == [("b", "c")]


@pytest.mark.parametrize("servers", [1, 2])
async def test_one_text_means_to_each_client_the_tables_of_the_search_path_that_it_has_set(
    servers: int, database: Database
) -> None:
    """P13: on servers that go from one to the other; who goes back to the usual path meets no error of the others."""
    async with (
        running(database, both_modes(servers)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
        connected(relay.port, TRANSACTION) as three,
    ):
        neighbour = Neighbour(three)
        await one.ask(query("create schema one; create table one.t as select 1 as a"))
        await one.ask(query("create schema two; create table two.t as select 'b'::text as b, 'c'::text as c"))
        await one.ask(query("set search_path = one"))
        await two.ask(run("set search_path = 'two'") + SYNC)
        for client in (one, two):
            await client.ask(parse("select * from t", "s"), SYNC)
        for _ in range(3):
            if servers > 1:
                await neighbour.moves()
            assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
            assert rows(await two.ask(bind(name="s"), execute(), SYNC)) == [("b", "c")]
            assert rows(await two.ask(run("select * from t"), SYNC)) == [("b", "c")]
        assert relay.pool().pinned == 0
        async with connected(relay.port, TRANSACTION) as four:
            await four.ask(query("set search_path = one"))
            await four.ask(parse("select * from t", "s"), SYNC)
            await four.ask(query("reset all"))
            assert sqlstates(await four.ask(bind(name="s"), execute(), SYNC)) == ["42P01"]
        for _ in range(2):
            assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]


async def test_whose_path_is_another_than_when_it_prepared_learns_alone_that_columns_differ(database: Database) -> None:
    """P12, P13: PostgreSQL refuses its statement; those who share that, under the path it was made for, hear nothing."""
    async with (
        running(database, both_modes(2)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
    ):
        await one.ask(
            query("create schema one; create table one.t as select 1 as a; create table t as select 'b' as b")
        )
        for client in (one, two):
            await client.ask(query("set search_path = one"))
            await client.ask(parse("select * from t", "s"), SYNC)
        await two.ask(query("reset all"))
        assert sqlstates(await two.ask(bind(name="s"), execute(), SYNC)) == ["0A000"]
        assert rows(await two.ask(bind(name="s"), execute(), SYNC)) == [("b",)]
        assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
        async with connected(relay.port, TRANSACTION) as three:
            await three.ask(query("begin; select 1"))  # takes that server away
            assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
        assert relay.pool().pinned == 0


async def test_what_a_client_of_one_pool_changes_is_prepared_anew_in_all(database: Database) -> None:
    """P12: as where migrations have a pool of their own."""
    pools = {name: PoolSettings(size=1) for name in (TRANSACTION, "migrations")}
    async with (
        running(database, pools) as relay,
        connected(relay.port, TRANSACTION) as client,
        connected(relay.port, TRANSACTION) as other,
        connected(relay.port, "migrations") as migration,
    ):
        await migration.ask(query("create table t as select 1 as a"))
        for one in (client, other):
            assert rows(await one.ask(parse("select * from t", "s"), bind(name="s"), execute(), SYNC)) == [("1",)]
        await other.ask(close_statement("s"), SYNC)
        await migration.ask(query("alter table t add column b text default 'new'"))
        renewed = await other.ask(parse("select * from t", "s"), bind(name="s"), execute(), SYNC)
        assert rows(renewed) == [("1", "new")]
        assert sqlstates(await client.ask(bind(name="s"), execute(), SYNC)) == ["0A000"]
        assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("1", "new")]


async def test_a_statement_made_under_another_role_or_path_is_nobody_elses(database: Database) -> None:
    """P13: as multi-tenant programs do, which set both at the beginning of each transaction."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION) as one,
        connected(relay.port, TRANSACTION) as two,
    ):
        await one.ask(
            query("create schema one; create table one.t as select 1 as a; create table t as select 'b' as b")
        )
        await one.ask(query("begin"), query("select set_config('search_path', 'one', true)"), times=2)
        assert rows(await one.ask(parse("select * from t", "s"), bind(name="s"), execute(), SYNC)) == [("1",)]
        await one.ask(query("commit"))
        assert rows(await two.ask(parse("select * from t", "s"), bind(name="s"), execute(), SYNC)) == [("b",)]
        await one.ask(query("begin"), query("set local search_path = one"), times=2)
        assert rows(await one.ask(bind(name="s"), execute(), SYNC)) == [("1",)]
        assert relay.pool().pinned == 0


@pytest.mark.parametrize("mode", MODES)
async def test_errors_name_statements_as_the_client_does(mode: str, relay: Running) -> None:
    """P2, P11, X15: also a name that looks like ours."""
    async with connected(relay.port, mode) as client:
        await client.ask(parse("select $1::int", "__poolguard_9"), SYNC)
        for asked, text in (
            (parse("select 1", "__poolguard_9"), 'prepared statement "__poolguard_9" already exists'),
            (bind(name="__poolguard_8"), 'prepared statement "__poolguard_8" does not exist'),
            (
                bind(name="__poolguard_9"),
                'bind message supplies 0 parameters, but prepared statement "__poolguard_9" requires 1',
            ),
        ):
            (error,) = [received for received in await client.ask(asked, SYNC) if received.tag == "E"]
            assert error.fields["M"] == text


async def test_a_client_that_leaves_in_mid_batch_does_not_leave_names_that_do_not_exist(database: Database) -> None:
    """P4: Parse without Sync behind an error; the next client prepares the same text."""
    async with running(database, both_modes(1)) as relay:
        for text in ("select 'same text'", "select 'other text'"):
            async with connected(relay.port, TRANSACTION) as client:
                client.send(run("select 1/0") + parse(text, "s"))
                await client.until("E")
            await relay.at_rest(sessions=0)
            async with connected(relay.port, TRANSACTION) as client:
                received = await client.ask(parse(text, "s"), bind(name="s"), execute(), SYNC)
                assert command_tags(received) == ["SELECT 1"]
