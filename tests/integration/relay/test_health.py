"""Servers are what PostgreSQL is now: a failover, a network that breaks or goes silent, a cold start, a reload, a stop."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from poolguard.pool.pool import RESTED_SECONDS
from poolguard.pool.snapshot import CloseReason
from poolguard.pool.state import MAX_OPENING
from tests.integration.relay.raw import SYNC, Raw, connected, query, rows, run, sqlstates, tags
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy, Way, proxy_to
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running

LONG = "select pg_sleep(600)"


@pytest.fixture
async def network(database: Database) -> AsyncIterator[tuple[Proxy, Database]]:
    with database.connect() as admin:
        admin.execute("create table t (a int)")
    async with proxy_to(database) as pair:
        yield pair


async def fresh_client(relay: Running, mode: str) -> Raw:
    raw = await Raw.dial(relay.port)
    greeting = await raw.log_in({"user": "postgres", "database": mode})
    assert greeting[-1].tag == "Z", greeting
    return raw


# Failover


async def test_servers_that_lead_to_a_read_only_postgresql_are_replaced_once_a_write_fails(database: Database) -> None:
    """25006: as behind a name that led to a replica for a while."""
    with database.connect() as admin:
        admin.execute("create table t (a int)")
        async with running(database, both_modes(3)) as relay, connected(relay.port, TRANSACTION) as client:
            assert tags(await client.ask(query("insert into t values (1)"))) == "C ZI"
            admin.execute(f"alter database {database.name} set default_transaction_read_only = on")
            try:
                admin.execute(
                    "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
                assert tags(await client.ask(query("select 1"))) == "TDC ZI"
                assert sqlstates(await client.ask(query("insert into t values (2)"))) == ["25006"]
            finally:
                admin.execute("set default_transaction_read_only = off")
                admin.execute(f"alter database {database.name} reset default_transaction_read_only")
            assert relay.pool().closed[CloseReason.FAILOVER] == 1
            assert tags(await client.ask(query("insert into t values (3)"))) == "C ZI"


async def test_a_server_that_ended_in_the_same_turn_of_the_loop_is_not_given_out(database: Database) -> None:
    """A5: the client's word is read first, the end of the server that it would be given second."""
    with database.connect() as admin:
        async with running(database, both_modes(3)) as relay, connected(relay.port, TRANSACTION) as client:
            assert tags(await client.ask(query("select 1"))) == "TDC ZI"
            relay.pool().maintain(relay.relay.clock.monotonic() + RESTED_SECONDS)
            client.send(query("select 2"))
            admin.execute(
                "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
            assert rows(await client.until("Z")) == [("2",)]
            assert relay.pool().closed[CloseReason.LOST] == 1


async def test_a_client_that_wants_to_be_read_only_costs_no_server(database: Database) -> None:
    with database.connect() as admin:
        admin.execute("create table t (a int)")
    async with running(database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        await client.ask(query("set default_transaction_read_only = on"))
        assert sqlstates(await client.ask(query("insert into t values (2)"))) == ["25006"]
        await client.ask(query("begin read only"))
        assert sqlstates(await client.ask(query("insert into t values (2)"))) == ["25006"]
        await client.ask(query("rollback"))
        await client.ask(query("discard all"))
        assert sum(relay.pool().closed.values()) == 0


# The network


@pytest.mark.parametrize("mode", MODES)
async def test_a_connection_that_is_cut_anywhere_in_an_answer(
    network: tuple[Proxy, Database], database: Database, mode: str
) -> None:
    """B6, X20: whatever part had come: one error at most, every slot there, the next answer the next client's own."""
    proxy, way = network
    said = query("begin; insert into t values (1)"), run("select 'mine' from t") + SYNC, query("rollback; select 'end'")
    async with running(way, both_modes(1)) as relay:
        await relay.at_rest(sessions=0)
        before = proxy.passed[Way.FROM_SERVER]
        client = await fresh_client(relay, mode)
        whole = b"".join([m.tag.encode() for data in said for m in await client.ask(data)])
        size = proxy.passed[Way.FROM_SERVER] - before
        await client.end()
        await relay.at_rest(sessions=0)
        for place in range(1, size, 3):
            async with connected(relay.port, mode) as other:
                assert rows(await other.ask(query(f"select 'other {place}'"))) == [(f"other {place}",)]
            await relay.at_rest(sessions=0)
            client = await fresh_client(relay, mode)
            proxy.cut_after(place, Way.FROM_SERVER)
            heard = [m for data in said for m in await client.ask(data)]
            assert set(rows(heard)) <= {("mine",), ("end",)}
            assert set(sqlstates(heard)) <= {"08006"}, heard
            assert whole.startswith(b"".join(m.tag.encode() for m in heard if m.tag != "E"))
            proxy.heal()
            await client.end()
            await relay.at_rest(sessions=0)
    with database.connect() as admin:
        assert admin.execute("select count(*) from t").fetchone() == (0,)


async def test_a_network_that_goes_silent_holds_nobody_up_for_longer_than_the_limits_say(
    network: tuple[Proxy, Database],
) -> None:
    """A dial that hears nothing ends at connect_timeout, a wait at wait_timeout; and all is well when it heals."""
    proxy, database = network
    async with (
        running(database, both_modes(1, wait_timeout=0.5), connect_timeout=0.2) as relay,
        connected(relay.port, TRANSACTION) as client,
    ):
        await client.ask(query("select 1"))
        proxy.cut()
        await eventually_async(lambda: not relay.pool().state.total)
        proxy.silence()
        (error, ready) = await client.ask(query("select 1"))
        assert (error.sqlstate, ready.body) == ("53300", b"I")
        assert "did not answer within" in error.fields["M"]
        proxy.heal()
        await eventually_async(lambda: _answers(client))
        await relay.at_rest(sessions=1)


async def test_a_slow_network_changes_nothing_but_time(network: tuple[Proxy, Database]) -> None:
    proxy, database = network
    async with running(database, both_modes(2)) as relay, connected(relay.port, TRANSACTION) as client:
        proxy.delay(0.01)
        received = await client.ask(query("begin"), run("select 1") + SYNC, query("select 2; commit"), times=3)
        assert tags(received) == "C ZT 12TDC ZT TDCC ZI"


async def _answers(client: Raw) -> bool:
    return tags(await client.ask(query("select 1"))) == "TDC ZI"


# Cold pools, reloads, the end


async def test_a_cold_pool_opens_for_all_who_wait_up_to_a_bound(network: tuple[Proxy, Database]) -> None:
    """B8: several dials at once, not one after the other."""
    proxy, database = network
    async with running(database, {TRANSACTION: replace(both_modes(MAX_OPENING + 4)[TRANSACTION])}) as relay:
        clients = [await fresh_client(relay, TRANSACTION) for _ in range(MAX_OPENING + 4)]
        proxy.cut()
        await eventually_async(lambda: not relay.pool().state.total)
        proxy.silence()
        before = proxy.accepted
        for number, client in enumerate(clients):
            client.send(query(f"begin; select {number}"))
        await eventually_async(lambda: proxy.accepted - before == MAX_OPENING)
        assert (relay.pool().state.opening, relay.pool().state.waiting) == (MAX_OPENING, len(clients))
        proxy.heal()
        for number, client in enumerate(clients):
            assert rows(await client.until()) == [(str(number),)]
        for client in clients:
            await client.ask(query("rollback"))
            await client.end()
        await relay.at_rest(sessions=0)


async def test_a_reload_under_load_refuses_nobody(database: Database) -> None:
    """B4: pools grow, shrink, move and go while clients work; nothing of them stays behind."""
    async with running(database, both_modes(4)) as relay:
        settings, reloads = relay.relay.settings, 0
        over = asyncio.Event()

        async def work(number: int) -> None:
            async with connected(relay.port, TRANSACTION) as client:
                while not over.is_set():
                    received = await client.ask(query(f"begin; select {number}"), query("commit"), times=2)
                    assert rows(received) == [(str(number),)]

        async with asyncio.TaskGroup() as workers:
            for number in range(12):
                workers.create_task(work(number))
            for size in (1, 6, 2, 4) * 3:
                done = relay.pool().checkouts + 20
                pools = {**settings.pools, TRANSACTION: replace(settings.pools[TRANSACTION], size=size)}
                if reloads % 2:
                    pools["extra"] = settings.pools[TRANSACTION]
                moved = frozenset({TRANSACTION} if reloads % 3 == 0 else ())
                relay.relay.reconfigure(replace(settings, pools=pools), relay.relay.door, moved)
                reloads += 1
                await eventually_async(partial(_checked_out, relay, done))
            over.set()
        await relay.at_rest(sessions=0)
        assert relay.starved == []
        assert relay.pool().state.total <= 4


def _checked_out(relay: Running, enough: int) -> bool:
    return relay.pool().checkouts > enough


async def test_who_is_in_a_pool_that_was_removed_is_told_so(database: Database) -> None:
    async with running(database, both_modes(2)) as relay, connected(relay.port, TRANSACTION) as client:
        settings = relay.relay.settings
        left = {name: pool for name, pool in settings.pools.items() if name != TRANSACTION}
        changed = replace(settings, pools=left, default_pool=next(iter(left)))
        relay.relay.reconfigure(changed, relay.relay.door, frozenset())
        (error,) = await client.until_closed()
        assert (error.sqlstate, error.fields["S"]) == ("57P01", "FATAL")
        assert "'transaction' was removed from poolguard's settings" in error.fields["M"]


@pytest.mark.parametrize("mode", MODES)
async def test_stop_leaves_nothing_running_in_postgresql(mode: str, database: Database) -> None:
    """What runs is cancelled and rolled back, not left to go on unseen."""
    with database.connect() as admin:
        admin.execute("create table t (a int)")
        async with running(database, both_modes(2)) as relay:
            client = await fresh_client(relay, mode)
            await client.ask(query("begin; insert into t values (1)"))
            client.send(query(LONG))
            await eventually_async(lambda: running_statements(admin) == [LONG])
        assert running_statements(admin) == []
        assert sqlstates(await client.until_closed())[-1:] == ["57P01"]
        await client.end()
        assert admin.execute("select count(*) from t").fetchone() == (0,)


def running_statements(admin: object) -> list[object]:
    found = admin.execute(  # type: ignore[attr-defined]
        "select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and state <> 'idle'"
    )
    return [row[0] for row in found.fetchall()]
