"""The queue of a pool on real servers: who waits, who is told what, who is next."""

import asyncio
from functools import partial

import pytest

from poolguard.ledger.entries import Phase
from poolguard.pool.state import Refusal
from tests.integration.relay.raw import SYNC, Raw, command_tags, connected, query, rows, run, sqlstates, tags
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import SESSION, TRANSACTION, Running, both_modes, running


def _waiting(relay: Running, number: int) -> bool:
    return relay.pool().state.waiting == number


async def test_a_wait_in_vain_names_the_holder(database: Database) -> None:
    """53300 with pool, wait, size, and the holder's application, address, state, age and statement, no literal."""
    async with (
        running(database, both_modes(1, wait_timeout=0.2)) as relay,
        connected(relay.port, TRANSACTION, application_name="leaky app") as holder,
        connected(relay.port, TRANSACTION) as waiter,
    ):
        await holder.ask(query("begin"))
        await holder.ask(query("select 'top secret', 4711 as number"))
        (refused, ready) = await waiter.ask(query("select 1"))
        assert (refused.sqlstate, refused.fields["S"], ready.body) == ("53300", "ERROR", b"I")
        message, detail = refused.fields["M"], refused.fields["D"]
        for part in ("query_wait_timeout", "'transaction'", "within 2", "size 1", "1 held"):
            assert part in message
        address = holder.writer.get_extra_info("sockname")
        for text in (message, detail):
            for part in ("leaky app", f"127.0.0.1:{address[1]}", "idle in transaction", "server held for", "ms"):
                assert part in text
            assert "number" in text
        told = " ".join(refused.fields.values())
        assert "secret" not in told
        assert "4711" not in told

        ((who, waited, reason, holders),) = relay.starved
        assert (who.pool, reason) == (TRANSACTION, Refusal.TIMEOUT)
        assert 0.2 <= waited < 2
        assert [held.application_name for held in holders] == ["leaky app"]

        await holder.ask(query("rollback"))
        assert tags(await waiter.ask(query("select 1"))) == "TDC ZI", "its session lives on"
        assert relay.pool().wait_timeouts == 1
        await relay.at_rest(sessions=2)


async def test_a_wait_in_vain_in_mid_batch_is_skipped_to_its_sync(database: Database) -> None:
    """X23: one error, one ReadyForQuery; what follows is answered as usual."""
    async with (
        running(database, both_modes(1, wait_timeout=0.05)) as relay,
        connected(relay.port, TRANSACTION) as holder,
        connected(relay.port, TRANSACTION) as waiter,
    ):
        await holder.ask(query("begin; create table t (a int)"))
        assert tags(await waiter.ask(run("select 1"), run("select 2"), SYNC)) == "E ZI"
        await holder.ask(query("commit"))
        assert tags(await waiter.ask(run("select 1"), SYNC)) == "12TDC ZI"


async def test_a_deferred_transaction_without_a_server_fails_as_any_other(database: Database) -> None:
    """D8: 53300 at its first real statement, then 25P02 until its end."""
    async with (
        running(database, both_modes(1, wait_timeout=0.05)) as relay,
        connected(relay.port, TRANSACTION) as holder,
        connected(relay.port, TRANSACTION) as waiter,
    ):
        await holder.ask(query("begin; select 1"))
        assert tags(await waiter.ask(query("begin"))) == "C ZT"
        assert sqlstates(await waiter.ask(query("select 1"))) == ["53300"]
        received = await waiter.ask(query("select 1"))
        assert (sqlstates(received), tags(received)) == (["25P02"], "E ZE")
        received = await waiter.ask(query("commit"))
        assert (command_tags(received), tags(received)) == (["ROLLBACK"], "C ZI")
        await holder.ask(query("commit"))
        assert tags(await waiter.ask(query("select 1"))) == "TDC ZI"


async def test_a_begun_transaction_holds_nothing(database: Database) -> None:
    """D1."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name="begun") as begun,
        connected(relay.port, TRANSACTION) as other,
    ):
        await begun.ask(query("begin"))
        assert relay.session("begun").phase is Phase.DEFERRED
        assert not relay.holders()
        assert tags(await other.ask(query("select 1"))) == "TDC ZI"


async def test_now_in_a_deferred_transaction_is_not_before_its_begin(relay: Running) -> None:
    """D9."""
    async with connected(relay.port, TRANSACTION) as client:
        ((before,),) = rows(await client.ask(query("select clock_timestamp()::text")))
        await client.ask(query("begin"))
        ((later,),) = rows(await client.ask(query(f"select (now() > '{before}')::text")))
        assert later == "true"


@pytest.mark.parametrize("max_waiting", [0, 1])
async def test_a_full_queue_refuses_at_once(max_waiting: int, database: Database) -> None:
    async with (
        running(database, both_modes(1, wait_timeout=60, max_waiting=max_waiting)) as relay,
        connected(relay.port, TRANSACTION) as holder,
        connected(relay.port, TRANSACTION) as waiter,
        connected(relay.port, TRANSACTION) as refused,
    ):
        await holder.ask(query("begin; select 1"))
        if max_waiting:
            waiter.send(query("select 'waited'"))
            await eventually_async(lambda: relay.pool().state.waiting == max_waiting)
        told, ready = await refused.ask(query("select 1"))
        assert (told.sqlstate, ready.body) == ("53300", b"I")
        assert "queue full" in told.fields["M"]
        assert relay.pool().queue_full == 1
        await holder.ask(query("commit"))
        if max_waiting:
            assert rows(await waiter.until()) == [("waited",)]
        await relay.at_rest(sessions=3)


async def test_first_come_first_served(database: Database) -> None:
    async with running(database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as holder:
        await holder.ask(query("create table t (n serial, a int)"))
        await holder.ask(query("begin; select 1"))
        waiters = [await Raw.dial(relay.port) for _ in range(10)]
        for place, waiter in enumerate(waiters):
            await waiter.log_in({"user": "postgres", "database": TRANSACTION})
            waiter.send(query(f"insert into t (a) values ({place})"))
            await eventually_async(partial(_waiting, relay, place + 1))
        await holder.ask(query("commit"))
        await asyncio.gather(*(waiter.until() for waiter in waiters))
        served = rows(await holder.ask(query("select a from t order by n")))
        assert served == [(str(place),) for place in range(10)]
        await asyncio.gather(*(waiter.end() for waiter in waiters))
        await relay.at_rest(sessions=1)


@pytest.mark.parametrize("pool", [TRANSACTION, SESSION])
async def test_a_waiter_that_goes_never_runs_its_statement(pool: str, database: Database) -> None:
    async with running(database, both_modes(1)) as relay, connected(relay.port, pool) as holder:
        await holder.ask(query("create table t (a int)"))
        await holder.ask(query("begin; select 1"))
        for way in (run("insert into t values (1)") + SYNC, query("insert into t values (1)"), query("begin")):
            gone = await Raw.dial(relay.port)
            await gone.log_in({"user": "postgres", "database": pool})
            gone.send(way + query("insert into t values (1)"))
            await eventually_async(lambda: relay.pool(pool).state.waiting == 1)
            gone.reset()
            await eventually_async(lambda: relay.pool(pool).state.waiting == 0)
        await holder.ask(query("commit"))
        assert rows(await holder.ask(query("select count(*) from t"))) == [("0",)]


async def test_a_waiter_may_go_on_talking(database: Database) -> None:
    """What it sends while it waits is answered in order, once a server has come."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION) as holder,
        connected(relay.port, TRANSACTION) as waiter,
    ):
        await holder.ask(query("begin; select 1"))
        waiter.send(query("select 'a'"))
        await eventually_async(lambda: relay.pool().state.waiting == 1)
        waiter.send(run("select 'b'") + SYNC + query("select 'c'"))
        waiter.send(query("select 'd'")[:7])
        await holder.ask(query("commit"))
        waiter.send(query("select 'd'")[7:])
        assert rows(await waiter.until("Z", 4)) == [("a",), ("b",), ("c",), ("d",)]
        await relay.at_rest(sessions=2)
