"""Cancelling: it ends the statement that was meant, and nobody else's."""

import asyncio
import random

import asyncpg
import psycopg
import pytest

from poolguard.ledger.entries import Phase
from poolguard.ledger.hands import Outcome
from tests.integration.relay.raw import SYNC, Message, connected, query, rows, run, sqlstates, tags
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running

LONG = "select pg_sleep(600)"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("minor", [0, 2])
@pytest.mark.parametrize("extended", [False, True])
async def test_cancel_ends_the_statement(mode: str, minor: int, extended: bool, relay: Running) -> None:
    async with connected(relay.port, mode, minor=minor, application_name="victim") as client:
        client.send(run(LONG) + SYNC if extended else query(LONG))
        await relay.transaction("victim", Phase.ACTIVE)
        assert await client.cancel() == b""
        assert sqlstates(await client.until()) == ["57014"]
        assert tags(await client.ask(query("select 1"))) == "TDC ZI"
    await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_wrong_key_does_nothing(mode: str, relay: Running) -> None:
    """K1: and is answered nothing. The right one then works."""
    async with connected(relay.port, mode, application_name="victim") as client:
        client.send(query(LONG))
        await relay.transaction("victim", Phase.ACTIVE)
        wrong = bytes(byte ^ 1 for byte in client.key)
        for key in (wrong, client.key[:3] + wrong[3:], client.key + b"\0", b"\0" * 256):
            assert await client.cancel(key) == b""
        assert relay.session("victim").phase is Phase.ACTIVE
        pid, client.pid = client.pid, client.pid + 1
        await client.cancel()
        client.pid = pid
        await client.cancel()
        assert sqlstates(await client.until()) == ["57014"]


async def test_cancel_of_an_idle_client_is_forgotten(relay: Running) -> None:
    """K6: also in a transaction that is idle, begun or failed, and when nothing was ever said."""
    async with connected(relay.port, TRANSACTION) as client:
        for text in ("select 1", "begin", "select 2", "select 1/0", "rollback", "select 3"):
            await client.cancel()
            await client.ask(query(text))
            await client.cancel()
        assert rows(await client.ask(query("select 4"))) == [("4",)]


async def test_cancel_of_a_waiting_client_ends_its_wait(database: Database) -> None:
    """K3: 57014 without a server; what it wanted to say is never run, and its session goes on."""
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION) as holder,
        connected(relay.port, TRANSACTION, application_name="waiter") as waiter,
    ):
        await holder.ask(query("create table t (a int)"))
        await holder.ask(query("begin; select 1"))
        for text in ("insert into t values (1)", "begin"):
            if text == "begin":
                await waiter.ask(query(text))
            waiter.send(query("insert into t values (1)"))
            await relay.phase("waiter", Phase.WAITING)
            assert relay.pool().state.waiting == 1
            await waiter.cancel()
            assert sqlstates(await waiter.until()) == ["57014"]
            assert relay.pool().state.waiting == 0
        assert tags(await waiter.ask(query("select 1"))) == "E ZE"
        assert tags(await waiter.ask(query("rollback"))) == "C ZI"
        waiter.send(run("insert into t values (1)") + SYNC)
        await relay.phase("waiter", Phase.WAITING)
        await waiter.cancel()
        assert tags(await waiter.until()) == "E ZI"
        await holder.ask(query("rollback"))
        assert rows(await waiter.ask(query("select count(*) from t"))) == [("0",)]
        await relay.at_rest(sessions=2)


async def test_a_cancel_hits_only_the_client_that_it_names(database: Database) -> None:
    """K2: 200 races on one server, which its next client uses at once: nobody but the victim sees 57014.

    Every tenth cancel is sure to come in time, and every tenth too late, however slow the machine is.
    """
    chance = random.Random(20261121)
    async with (
        running(database, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name="victim") as victim,
        connected(relay.port, TRANSACTION) as bystander,
    ):
        canceled = survived = 0

        async def stand_by() -> None:
            for number in range(4):
                received = await bystander.ask(query(f"select {number} from generate_series(1, 300)"))
                assert not sqlstates(received), received
                assert len(rows(received)) == 300

        async def cancel() -> None:
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            await victim.cancel()

        async def insist(answer: asyncio.Task[list[Message]]) -> None:
            while not answer.done():
                await victim.cancel()

        for number in range(200):
            seconds = "600" if number % 10 == 0 else chance.choice(("0", "0.0005", "0.001", "0.003"))
            victim.send(query(f"select pg_sleep({seconds})"))
            answer = asyncio.create_task(victim.until())
            if number % 10 == 5:
                await answer
            told, *_ = await asyncio.gather(answer, insist(answer) if number % 10 == 0 else cancel(), stand_by())
            assert sqlstates(told) in ([], ["57014"])
            canceled += bool(sqlstates(told))
            survived += not sqlstates(told)
        assert canceled, "no cancel ever came in time: the race was not run"
        assert survived, "no cancel ever came late: the race was not run"
        assert relay.pool().opened == 1
        await relay.at_rest(sessions=2)


@pytest.mark.parametrize("mode", MODES)
async def test_psycopg_cancels(mode: str, relay: Running) -> None:
    connection = await psycopg.AsyncConnection.connect(relay.dsn(mode, application_name="victim"), autocommit=True)
    async with connection:
        running_statement = asyncio.create_task(connection.execute(LONG))
        await relay.transaction("victim", Phase.ACTIVE)
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await running_statement
        assert await (await connection.execute("select 1")).fetchone() == (1,)


@pytest.mark.parametrize("mode", MODES)
async def test_asyncpg_cancels(mode: str, relay: Running) -> None:
    """Its own timeout, and a task that is cancelled."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=relay.port, user="postgres", database=mode, server_settings={"application_name": "a"}
    )
    with pytest.raises(TimeoutError):
        await connection.execute(LONG, timeout=0.05)
    assert await connection.fetchval("select 1") == 1
    statement = asyncio.create_task(connection.execute(LONG))
    await relay.transaction("a", Phase.ACTIVE)
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement
    assert await connection.fetchval("select 2") == 2
    await connection.close()
    await relay.at_rest(sessions=0)


async def test_the_guards_cancel_ends_the_statement_and_fails_the_transaction(relay: Running) -> None:
    async with connected(relay.port, TRANSACTION, application_name="victim") as client:
        await client.ask(query("begin"))
        client.send(query(LONG))
        held = await relay.transaction("victim", Phase.ACTIVE)
        assert await relay.relay.cancel(held.id) is Outcome.DONE
        assert tags(await client.until()).endswith("E ZE")
        await relay.transaction("victim", Phase.FAILED_TRANSACTION)
        assert await relay.relay.cancel(held.id) is Outcome.VICTIM_MOVED, "nothing runs any more"
        await client.ask(query("rollback"))
        assert await relay.relay.cancel(held.id) is Outcome.VICTIM_MOVED
