"""A1: LISTEN and NOTIFY in transaction mode are what PostgreSQL makes of them, and cost no server."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import psycopg
import pytest

from poolguard.core.errors import IdleTransactionEnded
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
    run,
    sqlstates,
    tags,
)
from tests.support.cluster import Database, Server
from tests.support.eventually import eventually_async
from tests.support.running import TRANSACTION, Running, both_modes, running

LISTENING = "select pid from pg_stat_activity where application_name = 'poolguard transaction listens'"


@pytest.fixture
async def one(database: Database) -> AsyncIterator[Running]:
    """A pool of one server: whoever kept it would be noticed."""
    async with running(database, both_modes(1)) as started:
        yield started


def notification(message: Message | None) -> tuple[str, str]:
    """Channel and payload."""
    assert message is not None
    assert message.tag == "A", message
    channel, payload, _ = message.body[4:].split(b"\0")
    return channel.decode(), payload.decode()


def pid_of(message: Message) -> int:
    return int(struct.unpack("!i", message.body[:4])[0])


async def heard(client: Raw, number: int = 1) -> list[tuple[str, str]]:
    """The next *number* messages, which are notifications."""
    return [notification(await client.receive()) for _ in range(number)]


def notifies(database: Database, *sql: str) -> None:
    """Somebody who is no client of poolguard's runs *sql*."""
    with database.connect() as other:
        for each in sql:
            other.execute(each.encode())


async def nothing_more(client: Raw, database: Database, channel: str) -> None:
    """Nothing has been said to *client*: what it is told next is what is notified now, and nothing is queued behind."""
    notifies(database, f"notify {channel}, 'last'")
    assert await heard(client) == [(channel, "last")]


LISTENS = {
    "simple": [query("listen jobs")],
    "with others": [query("listen other; listen jobs -- all of them")],
    "in a block": [query("begin"), query("listen jobs"), query("commit")],
    "in one Query each": [query("begin") + query("listen jobs") + query("commit")],
    "extended": [run("listen jobs") + SYNC],
    "extended in a block": [run("begin") + SYNC + run("listen jobs") + SYNC, run("commit") + SYNC],
    "pipelined": [run("select 1") + run("listen jobs") + run("select 2") + SYNC],
    "prepared": [parse("listen jobs", "l") + SYNC, bind(name="l") + execute() + SYNC],
    "quoted": [query('listen "jobs"')],
}


@pytest.mark.parametrize("how", LISTENS)
async def test_a_client_that_listens_is_told_and_holds_nothing(how: str, one: Running, database: Database) -> None:
    """A1: whatever is notified behind the answer to LISTEN is delivered, to an idle client at once."""
    async with connected(one.port, TRANSACTION) as client:
        for sent in LISTENS[how]:
            answer = await client.ask(sent, times=sent.count(b"Q\0\0") + sent.count(SYNC))
            assert not sqlstates(answer), answer
            assert not {m.tag for m in answer} - set("12CDTZn"), answer
        notifies(database, "notify jobs, 'a'", "notify jobs")
        assert await heard(client, 2) == [("jobs", "a"), ("jobs", "")]
        await one.at_rest(sessions=1)
        assert one.pool().pinned == 0
        assert tags(await client.ask(query("select 1"))) == "TDC ZI"


async def test_the_answers_are_postgresqls_own(relay: Running, database: Database) -> None:
    """A1, D7: tags, notices, positions and codes, in and out of transactions."""
    long = "listen " + "x" * 70
    scripts = [
        query("listen a"), query("  listen a;"), query("listen a; unlisten b"), query("unlisten *"), query("unlisten a"),
        query("listen select"), query("listen"), query("listen 1"), query('listen ""'), query(long),
        query("begin"), query("listen a"), query("select 1/0"), query("listen a"), query("unlisten a"), query("commit"),
        run("listen a") + SYNC, run(long) + SYNC, run("listen select") + SYNC, run("unlisten *") + SYNC,
        run("select 1/0") + run("listen a") + SYNC, run("listen a") + run("select 1/0") + SYNC,
    ]  # fmt: skip
    async with connected(database.port, database.name) as direct, connected(relay.port, TRANSACTION) as through:
        for sent in scripts:
            got, expected = await through.ask(sent), await direct.ask(sent)
            assert got == expected, sent


async def test_subscriptions_follow_their_transaction(one: Running, database: Database) -> None:
    """A1: LISTEN and UNLISTEN count from the commit on, and not after a rollback, of a savepoint either."""
    async with connected(one.port, TRANSACTION) as client:
        for sql in (
            "listen a", "begin", "listen b", "unlisten a", "rollback",
            "begin", "savepoint s", "listen c", "unlisten a", "rollback to s", "listen d", "commit",
        ):  # fmt: skip
            await client.ask(query(sql))
        notifies(database, *(f"notify {channel}" for channel in "abcd"))
        assert await heard(client, 2) == [("a", ""), ("d", "")]
        await client.ask(query("unlisten a"))
        notifies(database, "notify a")
        await nothing_more(client, database, "d")
        await client.ask(query("unlisten *"))
        await client.ask(query("listen e"))
        notifies(database, "notify d", "notify a")
        await nothing_more(client, database, "e")


@pytest.mark.parametrize("discard", [query("discard all"), run("discard all") + SYNC])
async def test_discard_all_ends_it(discard: bytes, one: Running, database: Database) -> None:
    """A1: but not one that PostgreSQL refuses."""
    async with connected(one.port, TRANSACTION) as client:
        await client.ask(query("listen a"))
        await client.ask(query("begin"))
        assert sqlstates(await client.ask(discard)) == ["25001"]
        await client.ask(query("rollback"))
        notifies(database, "notify a")
        assert await heard(client) == [("a", "")]
        await client.ask(discard)
        await client.ask(query("listen b"))
        notifies(database, "notify a")
        await nothing_more(client, database, "b")


async def test_nothing_comes_in_a_transaction(relay: Running, database: Database) -> None:
    """A1: not between rows, not between statements: behind the end, in order."""
    async with connected(relay.port, TRANSACTION) as client:
        await client.ask(query("listen a"))
        for begin in (query("begin"), query("begin; select 1")):
            await client.ask(begin)
            notifies(database, "notify a, '1'", "notify a, '2'")
            async with connected(relay.port, TRANSACTION) as witness:
                await witness.ask(query("listen a"))
                notifies(database, "notify a, '3'")
                await heard(witness)
            assert tags(await client.ask(query("select 1"))) == "TDC ZT"
            assert tags(await client.ask(query("commit"))) == "C ZI"
            assert await heard(client, 3) == [("a", "1"), ("a", "2"), ("a", "3")]


async def test_a_notification_of_ones_own(relay: Running) -> None:
    """A1: after commit, not after rollback, in the order of PostgreSQL's queue; its pid is not the client's own."""
    async with connected(relay.port, TRANSACTION) as client:
        for end in ("rollback", "commit"):
            await client.ask(query("begin"))
            await client.ask(query("listen a"))
            await client.ask(query(f"notify a, '{end}'"))
            await client.ask(query(end))
        got = await client.receive()
        assert notification(got) == ("a", "commit")
        assert got is not None
        assert pid_of(got) != client.pid
        client.send(query("notify a, 'later'"))
        got = (await client.until("A"))[-1]
        assert notification(got) == ("a", "later")


async def test_a_pinned_sessions_own_notification_has_its_own_pid(relay: Running) -> None:
    """A1: drivers compare it with the pid of the login."""
    async with connected(relay.port, TRANSACTION) as client:
        await client.ask(query("set work_mem = '7MB'"))
        await client.ask(query("listen a"))
        client.send(query("notify a"))
        got = await client.until("A")
        assert pid_of(got[-1]) == client.pid


async def test_payload_and_channel_may_be_as_long_as_postgresql_has_them(one: Running, database: Database) -> None:
    """A1: 7999 bytes; 63 bytes of a name, more are cut off."""
    name = "ä" * 40
    async with connected(one.port, TRANSACTION) as client:
        await client.ask(query(f'listen "{name}"'))
        await client.ask(query('listen "a""b"'))
        notifies(database, f"notify \"{name}\", '{'x' * 7999}'", 'notify "a""b", \'y\'')
        assert await heard(client, 2) == [("ä" * 31, "x" * 7999), ('a"b', "y")]


async def test_a_listener_has_one_server_for_all_and_leaves_none_behind(relay: Running, database: Database) -> None:
    """A1: one for each pool, however many clients listen; what nobody listens to is not heard."""
    with database.connect() as admin:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(relay.port, TRANSACTION)) for _ in range(8)]
            for number, client in enumerate(clients):
                await client.ask(query("listen everybody"))
                await client.ask(query(f"listen only_{number}"))
            notifies(database, "notify everybody", *(f"notify only_{number}" for number in range(8)))
            for number, client in enumerate(clients):
                assert await heard(client, 2) == [("everybody", ""), (f"only_{number}", "")]
            assert len(admin.execute(LISTENING).fetchall()) == 1
            await relay.at_rest(sessions=8)
        await relay.at_rest(sessions=0)
        listener = relay.relay.listeners.of(relay.pool())
        assert listener is not None
        assert listener.book.empty
        await eventually_async(lambda: not listener.hears or pytest.fail(str(listener.hears)))


async def test_it_survives_the_loss_of_the_listening_server(relay: Running, database: Database) -> None:
    """A1: it listens again, and each client is told that it may have missed something."""
    async with connected(relay.port, TRANSACTION) as client, connected(relay.port, TRANSACTION) as busy:
        await client.ask(query("listen a"))
        await busy.ask(query("listen a"))
        await busy.ask(query("begin; select 1"))
        with database.connect() as admin:
            admin.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as l")
        notice = await client.receive()
        assert notice is not None
        assert (notice.tag, notice.sqlstate) == ("N", "01000")
        assert "missed" in notice.fields["M"]
        notifies(database, "notify a")
        assert await heard(client) == [("a", "")]
        await busy.ask(query("commit"))
        assert [m.tag for m in (await busy.receive(), await busy.receive()) if m is not None] == ["N", "A"]
        assert relay.relay.counters.notification_gaps_total["transaction"] == 1


async def test_the_guards_rollback_keeps_subscriptions(one: Running, database: Database) -> None:
    """G8: and takes back what its transaction had begun to listen to."""
    async with connected(one.port, TRANSACTION, application_name="leak") as client:
        await client.ask(query("listen a"))
        await client.ask(query("begin; listen b"))
        held = await one.transaction("leak")
        assert await one.relay.rollback(held.id, IdleTransactionEnded("idle too long")) is Outcome.DONE
        notifies(database, "notify b", "notify a, '1'")
        assert sqlstates(await client.ask(query("select 1"))) == ["25P03"]
        assert tags(await client.ask(query("rollback"))) == "C ZI"
        assert await heard(client) == [("a", "1")]
        await nothing_more(client, database, "a")


async def test_session_mode_listens_in_its_own_server(one: Running, database: Database) -> None:
    """A1: nothing stands between."""
    async with connected(one.port, "session") as client:
        await client.ask(query("listen a"))
        notifies(database, "notify a, 'x'")
        assert await heard(client) == [("a", "x")]
        with database.connect() as admin:
            assert not admin.execute(LISTENING.replace("transaction", "session")).fetchall()


async def test_what_can_not_be_fanned_out_pins(one: Running, database: Database) -> None:
    """A1, T10: a LISTEN among other statements, or of a client with an encoding of its own, keeps its server."""
    async with connected(one.port, TRANSACTION) as client:
        await client.ask(query("select 1; listen a"))
        assert one.pool().pinned == 1
        await client.ask(query("listen b"))
        notifies(database, "notify a", "notify b")
        assert sorted(await heard(client, 2)) == [("a", ""), ("b", "")]
        await client.ask(query("unlisten a"))
        notifies(database, "notify a")
        await nothing_more(client, database, "b")
    async with connected(one.port, TRANSACTION, client_encoding="LATIN1") as client:
        await client.ask(query("listen a"))
        notifies(database, "notify a, 'ä'")
        received = await client.receive()
        assert received is not None
        assert received.body.endswith(b"\xe4\0")
        await client.ask(query("begin"))
        await client.ask(query("unlisten *"))
        await client.ask(query("rollback"))
        assert one.pool().pinned == 1
        await client.ask(query("unlisten *"))
        assert one.pool().pinned == 0


async def test_a_client_without_a_listening_server_to_be_had_keeps_its_own(pg: Server, database: Database) -> None:
    """A1: when PostgreSQL takes no more connections, LISTEN costs a server, but works."""
    async with running(database, both_modes(1)) as relay, connected(relay.port, TRANSACTION) as client:
        await client.ask(query("select 1"))
        with pg.connect() as admin:
            name = database.name
            admin.execute(f'alter database "{name}" with allow_connections false'.encode())
            try:
                assert command_tags(await client.ask(query("listen a"))) == ["LISTEN"]
                await client.ask(query("notify a"))
            finally:
                admin.execute(f'alter database "{name}" with allow_connections true'.encode())
        assert relay.pool().pinned == 1


async def test_asyncpg_listens(relay: Running, database: Database) -> None:
    """A1: LISTEN as a prepared statement; 500 in order."""
    connection = await asyncpg.connect(host="127.0.0.1", port=relay.port, user="postgres", database=TRANSACTION)
    got: list[str] = []
    enough = asyncio.Event()

    def told(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        got.append(str(payload))
        if len(got) == 500:
            enough.set()

    await connection.add_listener("jobs", told)
    notifies(database, *(f"notify jobs, '{number}'" for number in range(500)))
    async with asyncio.timeout(10):
        await enough.wait()
    assert got == [str(number) for number in range(500)]
    await connection.remove_listener("jobs", told)
    await connection.close()


async def test_psycopg_listens(relay: Running, database: Database) -> None:
    """A1: by its generator of notifications."""
    async with await psycopg.AsyncConnection.connect(relay.dsn(), autocommit=True) as connection:
        await connection.execute("listen jobs")
        notifies(database, "notify jobs, 'x'")
        async for told in connection.notifies(timeout=10, stop_after=1):
            assert (told.channel, told.payload) == ("jobs", "x")
