"""Prepared statements of the protocol, where more than one client or server takes part."""

import pytest

from poolguard.settings.model import Pool as PoolSettings
from tests.integration.relay.raw import (
    SYNC,
    bind,
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
