"""What the guard does to a transaction, on real servers: the session lives on, the server serves the next."""

import asyncio
from collections.abc import Sequence

import asyncpg
import psycopg
import pytest

from poolguard.core.errors import IdleTransactionEnded
from poolguard.ledger.entries import Phase
from poolguard.ledger.hands import Outcome
from tests.integration.relay.raw import (
    SYNC,
    Message,
    Raw,
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
from tests.support.eventually import eventually_async
from tests.support.running import MODES, SESSION, TRANSACTION, Running, both_modes, running

LEAK = "leak"
ENDED = IdleTransactionEnded("the transaction stood idle for too long", detail="d", hint="h")


async def leak(client: Raw, *, failed: bool = False, savepoint: bool = False) -> None:
    """A transaction with a row lock, left open."""
    await client.ask(query("begin"))
    if savepoint:
        await client.ask(query("savepoint a"))
    await client.ask(query("insert into t values (2)"))
    await client.ask(query("update t set a = 1 where a = 1"))
    if failed:
        await client.ask(query("select 1/0"))


async def roll_back(relay: Running, phase: Phase = Phase.IDLE_IN_TRANSACTION) -> None:
    """What the guard does to the leak."""
    held = await relay.transaction(LEAK, phase)
    assert await relay.relay.rollback(held.id, ENDED) is Outcome.DONE


Replies = tuple[str, list[str], list[str]]
"""Tags, SQLSTATEs of the errors, tags of the commands."""


def replies(received: Sequence[Message]) -> Replies:
    return tags(received), sqlstates(received), command_tags(received)


@pytest.fixture
def table(database: Database) -> Database:
    with database.connect() as admin:
        admin.execute("create table t (a int); insert into t values (1)")
    return database


TOLD: Replies = ("E ZE", ["25P03"], [])
ABORTED: Replies = ("E ZE", ["25P02"], [])
OVER: Replies = ("C ZI", [], ["ROLLBACK"])
COMMIT_FAILS: Replies = ("E ZI", ["25P03"], [])

CONVERSATIONS: dict[str, list[tuple[bytes, Replies]]] = {
    "G1 a Query": [(query("select 1"), TOLD), (query("select 1"), ABORTED), (query("rollback"), OVER)],
    "G2 COMMIT first": [(query("commit"), COMMIT_FAILS)],
    "G2 COMMIT later": [(query("select 1"), TOLD), (query("commit"), COMMIT_FAILS)],
    "G2 END work": [(query("end work"), COMMIT_FAILS)],
    "G2 COMMIT by the extended protocol": [(run("commit") + SYNC, ("12nE ZI", ["25P03"], []))],
    "G2 COMMIT by the extended protocol, later": [
        (run("select 1") + SYNC, TOLD),
        (run("commit") + SYNC, ("12nE ZI", ["25P03"], [])),
    ],
    "G2 COMMIT AND CHAIN": [(query("commit and chain"), TOLD), (query("rollback"), OVER)],
    "G3 ROLLBACK first": [(query("rollback"), OVER)],
    "G3 ROLLBACK by the extended protocol": [(run("rollback") + SYNC, ("12nC ZI", [], ["ROLLBACK"]))],
    "G4 a pipeline": [(run("select 1") + run("select 2") + SYNC, TOLD), (query("abort"), OVER)],
    "G4 a pipeline with COMMIT": [
        (run("insert into t values (3)") + run("commit") + SYNC, TOLD),
        (query("rollback"), OVER),
    ],
    "G5 ROLLBACK TO": [
        (query("rollback to savepoint a"), TOLD),
        (query("release a"), ABORTED),
        (query("rollback"), OVER),
    ],
    "G5 RELEASE": [(query("release savepoint a"), TOLD), (query("rollback to a"), ABORTED), (query("rollback"), OVER)],
    "several in one": [
        (query("select 1; commit"), TOLD),
        (query("rollback; select 1"), ABORTED),
        (query("rollback"), OVER),
    ],
    "BEGIN again": [(query("begin"), TOLD), (query("rollback"), OVER)],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CONVERSATIONS)
async def test_the_session_is_told_and_lives_on(case: str, mode: str, table: Database) -> None:
    """G1-G5: and nothing of the dead transaction's rest runs outside of it."""
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, mode, application_name=LEAK) as client,
    ):
        await leak(client, savepoint="savepoint" in str(CONVERSATIONS[case][0][0]))
        await roll_back(relay)
        for said, expected in CONVERSATIONS[case]:
            assert replies(await client.ask(said)) == expected
        assert rows(await client.ask(query("select a from t order by a"))) == [("1",)]
        await client.ask(query("begin"))
        await client.ask(query("insert into t values (7)"))
        assert command_tags(await client.ask(query("commit"))) == ["COMMIT"]
        assert rows(await client.ask(query("select a from t order by a"))) == [("1",), ("7",)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("savepoint", [False, True])
async def test_a_failed_transaction_is_ended_too(savepoint: bool, mode: str, table: Database) -> None:
    """G10."""
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, mode, application_name=LEAK) as client,
    ):
        await leak(client, failed=True, savepoint=savepoint)
        await roll_back(relay, Phase.FAILED_TRANSACTION)
        assert replies(await client.ask(query("select 1"))) == TOLD
        assert replies(await client.ask(query("rollback"))) == OVER
        assert tags(await client.ask(query("select 1"))) == "TDC ZI"


async def test_its_server_serves_the_next_waiter_and_its_locks_are_gone(table: Database) -> None:
    """G9: the same backend, no byte of the old session."""
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name=LEAK) as client,
        connected(relay.port, TRANSACTION, application_name="waiter") as waiter,
    ):
        await leak(client)
        held = await relay.transaction(LEAK)
        waiter.send(query("select pg_backend_pid(), a from t for update nowait"))
        await relay.phase("waiter", Phase.WAITING)
        assert await relay.relay.rollback(held.id, ENDED) is Outcome.DONE
        assert rows(await waiter.until()) == [(str(held.backend_pid), "1")]
        assert relay.session(LEAK).phase is Phase.ENDED
        assert replies(await client.ask(query("select 1"))) == TOLD
        assert replies(await client.ask(query("rollback"))) == OVER
        await relay.at_rest(sessions=2)
        assert relay.pool().opened == 1


async def test_a_message_that_comes_while_the_rollback_is_under_way_is_not_run(table: Database) -> None:
    """G6."""
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name=LEAK) as client,
    ):
        await leak(client)
        held = await relay.transaction(LEAK)
        rollback = asyncio.create_task(relay.relay.rollback(held.id, ENDED))
        await asyncio.sleep(0)
        assert replies(await client.ask(query("insert into t values (3)"))) == TOLD
        assert await rollback is Outcome.DONE
        assert replies(await client.ask(query("rollback"))) == OVER
        assert rows(await client.ask(query("select a from t"))) == [("1",)]


@pytest.mark.parametrize("mode", MODES)
async def test_a_message_that_has_come_in_half_is_not_run(mode: str, table: Database) -> None:
    """G7."""
    late = query("insert into t values (3)")
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, mode, application_name=LEAK) as client,
    ):
        await leak(client)
        await relay.transaction(LEAK)
        client.send(late[:9])
        (session,) = relay.relay._sessions.values()
        await eventually_async(lambda: session.carry)
        await roll_back(relay)
        assert replies(await client.ask(late[9:])) == TOLD
        assert replies(await client.ask(query("rollback"))) == OVER
        assert rows(await client.ask(query("select a from t"))) == [("1",)]


@pytest.mark.parametrize("mode", MODES)
async def test_what_pins_a_session_survives(mode: str, table: Database) -> None:
    """G8: SET, LISTEN, a temporary table, prepared statements: the server stays, only its transaction goes."""
    async with (
        running(table, both_modes(2)) as relay,
        connected(relay.port, mode, application_name=LEAK) as client,
    ):
        await client.ask(query("set statement_timeout = '77s'"))
        await client.ask(query("set timezone = 'Asia/Tokyo'"))
        await client.ask(query("listen c"))
        await client.ask(query("create temp table mine (a int)"))
        await client.ask(parse("select 'prepared'", "s"), SYNC)
        ((pid,),) = rows(await client.ask(query("select pg_backend_pid()")))
        await leak(client)
        await roll_back(relay)
        assert replies(await client.ask(query("select 1"))) == TOLD
        assert replies(await client.ask(query("rollback"))) == OVER
        assert rows(await client.ask(query("select pg_backend_pid()"))) == [(pid,)]
        assert rows(await client.ask(query("show statement_timeout"))) == [("77s",)]
        assert rows(await client.ask(query("show timezone"))) == [("Asia/Tokyo",)]
        assert rows(await client.ask(query("select count(*) from mine"))) == [("0",)]
        assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("prepared",)]
        with table.connect() as admin:
            admin.execute("notify c, 'hello'")
        (notification, *_) = await client.until("A")
        assert notification.tag == "A"
        assert relay.session(LEAK).phase is Phase.PINNED


async def test_prepared_statements_survive_without_a_pin(table: Database) -> None:
    """G8: also one that was prepared in the transaction that was ended."""
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name=LEAK) as client,
    ):
        await client.ask(parse("select 'before'", "s"), SYNC)
        await leak(client)
        await client.ask(parse("select 'within'", "u"), SYNC)
        await roll_back(relay)
        await client.ask(query("rollback"))
        assert rows(await client.ask(bind(name="s"), execute(), SYNC)) == [("before",)]
        assert rows(await client.ask(bind(name="u"), execute(), SYNC)) == [("within",)]


async def test_a_rollback_of_what_runs_or_is_over_is_not_done(table: Database) -> None:
    async with (
        running(table, both_modes(1)) as relay,
        connected(relay.port, TRANSACTION, application_name=LEAK) as client,
    ):
        await leak(client)
        client.send(query("select pg_sleep(600)"))
        held = await relay.transaction(LEAK, Phase.ACTIVE)
        assert await relay.relay.rollback(held.id, ENDED) is Outcome.REFUSED
        await relay.relay.cancel(held.id)
        await client.until()
        await client.ask(query("rollback"))
        assert await relay.relay.rollback(held.id, ENDED) is Outcome.VICTIM_MOVED
        await client.ask(query("begin"))
        await client.ask(query("select 1"))
        assert await relay.relay.rollback(held.id, ENDED) is Outcome.VICTIM_MOVED, "another transaction by now"
        assert tags(await client.ask(query("commit"))) == "C ZI"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", ["select pg_sleep(600)", "select 1"])
async def test_terminate_ends_the_statement_and_the_session(text: str, mode: str, table: Database) -> None:
    async with running(table, both_modes(1)) as relay:
        async with connected(relay.port, mode, application_name=LEAK) as client:
            await leak(client)
            client.send(query(text))
            held = await relay.transaction(LEAK, Phase.ACTIVE if "sleep" in text else Phase.IDLE_IN_TRANSACTION)
            assert await relay.relay.terminate(held.id, ENDED) is Outcome.DONE
            last = [received for received in await client.until_closed() if received.tag == "E"][-1]
            assert (last.sqlstate, last.fields["S"]) == ("25P03", "FATAL")
        with table.connect() as admin:
            await eventually_async(lambda: not _runs(admin, held.backend_pid))
        async with connected(relay.port, mode) as other:
            assert rows(await other.ask(query("select a from t for update nowait"))) == [("1",)]
        await relay.at_rest(sessions=0)


def _runs(admin: psycopg.Connection[tuple[object, ...]], pid: int) -> bool:
    return admin.execute("select 1 from pg_stat_activity where pid = %s", [pid]).fetchone() is not None


@pytest.mark.parametrize("mode", MODES)
async def test_psycopg_sees_an_ordinary_error(mode: str, table: Database) -> None:
    """G11."""
    async with (
        running(table, both_modes(1)) as relay,
        await psycopg.AsyncConnection.connect(relay.dsn(mode, application_name=LEAK)) as connection,
    ):
        await connection.execute("insert into t values (2)")
        await roll_back(relay)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            await connection.execute("insert into t values (3)")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await connection.execute("insert into t values (3)")
        await connection.rollback()
        assert await (await connection.execute("select a from t")).fetchall() == [(1,)]

        await connection.execute("insert into t values (2)")
        await roll_back(relay)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            await connection.commit()
        assert await (await connection.execute("select a from t")).fetchall() == [(1,)]
        await connection.commit()


@pytest.mark.parametrize("mode", [TRANSACTION, SESSION])
async def test_asyncpg_sees_an_ordinary_error(mode: str, table: Database) -> None:
    """G11."""
    async with running(table, both_modes(1)) as relay:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=relay.port,
            user="postgres",
            database=mode,
            server_settings={"application_name": LEAK},
        )

        async def leaks(*, goes_on: bool) -> None:
            async with connection.transaction():
                await connection.execute("insert into t values ($1)", 2)
                await roll_back(relay)
                if goes_on:
                    await connection.execute("insert into t values ($1)", 3)

        for goes_on in (True, False):
            with pytest.raises(asyncpg.IdleInTransactionSessionTimeoutError):
                await leaks(goes_on=goes_on)
            assert await connection.fetch("select a from t") == [(1,)]
        await connection.close()
        await relay.at_rest(sessions=0)
