"""Statement routes with real drivers: a transaction runs in the pool that its first statement belongs to."""

import asyncpg
import psycopg
import pytest

from poolguard.settings.model import Match, Route
from poolguard.settings.model import Pool as PoolSettings
from tests.integration.relay.raw import SYNC, bind, connected, execute, parse, query, rows, run, sqlstates
from tests.support.cluster import Database
from tests.support.running import Running, running

ROUTES = (Route(match=Match(statement=r"\briver_leader\b"), pool="election"),)
POOLS = {"app": PoolSettings(size=2), "election": PoolSettings(size=1)}
WHERE = "select current_setting('application_name')"
ELECT = """-- name: LeaderAttemptElect :execrows
insert into river_leader (leader_id, expires_at) values ('a', now() + interval '15 s')
on conflict (name) do nothing"""


@pytest.fixture
def table(database: Database) -> Database:
    with database.connect() as admin:
        admin.execute(
            "create unlogged table river_leader (name text primary key default 'default', leader_id text, "
            "expires_at timestamptz, ran_in text default current_setting('application_name'))"
        )
    return database


def counts(relay: Running) -> tuple[int, int]:
    """Checkouts of each pool."""
    return relay.pool("app").checkouts, relay.pool("election").checkouts


async def test_by_psycopg(table: Database) -> None:
    async with (
        running(table, POOLS, routes=ROUTES) as relay,
        await psycopg.AsyncConnection.connect(relay.dsn("app")) as client,
    ):
        await client.execute(ELECT)
        assert await (await client.execute(WHERE)).fetchone() == ("poolguard election",)
        await client.commit()
        assert await (await client.execute(WHERE)).fetchone() == ("poolguard app",)
        await client.commit()
        for _ in range(8):  # psycopg prepares it from the fifth time on
            await client.execute("update river_leader set expires_at = now() where leader_id = %s", ("a",))
            await client.commit()
        assert counts(relay) == (1, 9)
        await relay.at_rest(sessions=1)


async def test_by_asyncpg(table: Database) -> None:
    async with running(table, POOLS, routes=ROUTES) as relay:
        client = await asyncpg.connect(host="127.0.0.1", port=relay.port, user="postgres", database="app")
        await client.execute(ELECT)
        update = "update river_leader set expires_at = now() where leader_id = $1 returning ran_in"
        before = counts(relay)
        for _ in range(4):
            assert await client.fetchval(update, "a") == "poolguard election"
            assert await client.fetchval(WHERE) == "poolguard app"
        assert counts(relay)[1] > before[1]
        async with client.transaction():
            await client.fetchval(update, "a")
            assert await client.fetchval(WHERE) == "poolguard election"
        async with client.transaction():
            assert await client.fetchval(WHERE) == "poolguard app"
            await client.fetchval(update, "a")
            assert await client.fetchval(WHERE) == "poolguard app"
        await client.close()


async def test_an_exhausted_home_does_not_stop_an_election(table: Database) -> None:
    """What statement routes are for."""
    async with (
        running(table, {"app": PoolSettings(size=1), "election": PoolSettings(size=1)}, routes=ROUTES) as relay,
        connected(relay.port, "app") as hog,
        connected(relay.port, "app") as elector,
    ):
        await hog.ask(query("begin; select 1"))
        assert not sqlstates(await elector.ask(query("begin"), query(ELECT), query("commit"), times=3))
        assert rows(await elector.ask(run("select ran_in from river_leader"), SYNC)) == [("poolguard election",)]
        assert not sqlstates(await elector.ask(parse("select from river_leader", "s"), SYNC))
        assert not sqlstates(await elector.ask(bind(name="s"), execute(), SYNC))
