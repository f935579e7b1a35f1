"""Clients that mean no good, or are broken: each is bounded, and nobody else notices."""

import psycopg
import pytest

from poolguard.ledger.entries import Phase
from poolguard.settings.model import Limits
from poolguard.wire import startup
from tests.integration.relay.raw import Raw, connected, query, rows
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import MODES, TRANSACTION, both_modes, running

ENDLESS = query("select repeat('x', 100000) from generate_series(1, 1000000)")


@pytest.mark.parametrize("mode", MODES)
async def test_a_zombie_that_reads_nothing_is_cut_off(mode: str, database: Database, loop_kind: str) -> None:
    """L4, C4: it neither reads nor closes; its server is free for the next, and made clean."""
    async with running(database, both_modes(1), limits=Limits(unread_timeout=0.1)) as relay:
        async with connected(relay.port, mode, application_name="zombie") as zombie:
            zombie.writer.transport.pause_reading()  # type: ignore[attr-defined]
            zombie.send(query("begin") + ENDLESS)
            await relay.transaction("zombie", Phase.ACTIVE)
            async with connected(relay.port, mode) as client:
                assert rows(await client.ask(query("select 1"))) == [("1",)]
            await relay.at_rest(sessions=0)
        assert relay.relay.counters.clients_cut_off_total == 1


async def test_a_client_that_reads_again_is_not_cut_off(database: Database) -> None:
    async with (
        running(database, limits=Limits(unread_timeout=60.0)) as relay,
        connected(relay.port, TRANSACTION) as slow,
    ):
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        slow.send(query("select repeat('x', 1000000) from generate_series(1, 60)"))
        await eventually_async(lambda: len(relay.relay._around.unread))
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(rows(await slow.until())) == 60
        assert len(relay.relay._around.unread) == 0


async def test_max_clients_is_told_as_libpq_understands_it(database: Database) -> None:
    """After the startup packet: an error in answer to an SSLRequest is one that libpq does not show."""
    async with running(database, limits=Limits(max_clients=1)) as relay, connected(relay.port, TRANSACTION):
        with pytest.raises(psycopg.OperationalError, match="too many clients already"):
            await psycopg.AsyncConnection.connect(relay.dsn(sslmode="prefer"))
        assert relay.relay.counters.clients_refused_total["max_clients"] >= 1


async def test_a_cancel_comes_through_when_all_places_are_taken(database: Database) -> None:
    """K5: it needs no session."""
    async with (
        running(database, limits=Limits(max_clients=1)) as relay,
        connected(relay.port, TRANSACTION, application_name="victim") as client,
    ):
        client.send(query("select pg_sleep(600)"))
        await relay.transaction("victim", Phase.ACTIVE)
        await client.cancel()
        assert [m.sqlstate for m in await client.until() if m.tag == "E"] == ["57014"]


async def test_a_cancel_connection_closes_when_postgresql_has_been_told(database: Database) -> None:
    """K2, K7: so that it can't hit the client's next statement; 50 times, with not one that does."""
    async with running(database) as relay, connected(relay.port, TRANSACTION, application_name="victim") as client:
        await client.ask(query("begin"))
        for _ in range(50):
            client.send(query("select pg_sleep(0.001)"))
            await client.cancel()
            await client.until()
            await client.ask(query("rollback; begin"))
            assert rows(await client.ask(query("select 7"))) == [("7",)]


async def test_a_storm_of_cancels_opens_few_connections(database: Database) -> None:
    """K5, K7: thousands at once, of many; none is left over, and the statement ends."""
    async with (
        running(database, limits=Limits(max_cancels=2)) as relay,
        connected(relay.port, TRANSACTION, application_name="victim") as client,
    ):
        client.send(query("select pg_sleep(600)"))
        await relay.transaction("victim", Phase.ACTIVE)
        storm = [await Raw.dial(relay.port) for _ in range(100)]
        for number, raw in enumerate(storm):
            raw.send(startup.cancel_request(client.pid, client.key if number % 2 else b"\0" * 4))
        assert [await raw.until_closed() for raw in storm] == [[]] * 100
        assert [m.sqlstate for m in await client.until() if m.tag == "E"] == ["57014"]
        for raw in storm:
            await raw.end()
        assert rows(await client.ask(query("select 1"))) == [("1",)]
        assert len(relay.ledger.sessions) == 1
