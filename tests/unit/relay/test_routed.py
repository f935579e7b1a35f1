"""Which pool a transaction runs in, by its first statement."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from poolguard.ledger.entries import Phase
from poolguard.pool.pool import Pool
from poolguard.relay.parameters import parameter_set
from poolguard.relay.routed import Router, begin_session
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.settings.expressions import MOST_CHARACTERS
from poolguard.settings.model import Match, PoolMode, Route
from tests.support.relaying import Client, FakeTransport, House, sqlstates, tags
from tests.support.speech import SYNC, batch, bind, describe, execute, parse, query

ELECTS = Route(match=Match(statement="LEADER"), pool="election")


@dataclass(slots=True)
class Two:
    """A pool of one server and another of one, and clients at home in the first."""

    app: House
    election: House

    def client(self, *routes: Route, **pool: Any) -> Client:
        entry = self.app.ledger.open_session(client_address="10.0.0.1:4000", now=0.0)
        entry.application_name, entry.user, entry.database, entry.pool = "shop", "ann", "app", "app"
        transport = FakeTransport()
        pools: dict[str, Pool[Server]] = {"app": self.app.pool, "election": self.election.pool}
        session = begin_session(
            routes or (ELECTS,),
            pools,
            transport=transport,
            entry=entry,
            pool=self.app.pool,
            catalogue=self.app.catalogue,
            wanted=parameter_set({}),
            around=self.app.around,
        )
        return Client(self.app, session, transport)

    async def ask(self, client: Client, data: bytes) -> bytes:
        before = len(client.heard)
        client.say(data)
        for _ in range(2):
            await self.app.rest()
            await self.election.rest()
        return client.heard[before:]

    def ran(self) -> tuple[list[str], list[str]]:
        """What ran in each pool."""
        return tuple(
            [text for up in house.upstreams for text in up.postgres.ran] for house in (self.app, self.election)
        )  # type: ignore[return-value]


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    two = Two(House(), House())
    two.election.pool = Pool(
        "election",
        two.election.pool.settings,
        opener=two.election._open,
        clock=two.election.pool._clock,
        tasks=two.election.tasks,
    )
    yield two
    for house in (two.app, two.election):
        house.pool.state.check()
        assert not house.pool.state.held
        await house.close()


@pytest.mark.parametrize(
    "sent",
    [
        query("SELECT LEADER"),
        batch("SELECT LEADER"),
        parse("SELECT LEADER", "s") + bind("s") + describe() + execute() + SYNC,
        query("BEGIN") + query("SELECT LEADER") + query("SELECT x") + query("COMMIT"),
    ],
)
async def test_a_transaction_runs_where_its_first_statement_belongs(two: Two, sent: bytes) -> None:
    client = two.client()
    assert not sqlstates(await two.ask(client, sent))
    await two.ask(client, query("SELECT y"))
    here, there = two.ran()
    assert here == ["SELECT y"]
    assert "SELECT LEADER" in there
    assert client.session.entry.pool == "app"
    assert (two.app.pool.sessions, two.election.pool.sessions) == (1, 0)


async def test_what_comes_behind_the_first_statement_leads_nowhere(two: Two) -> None:
    client = two.client()
    await two.ask(client, query("BEGIN") + query("SELECT x") + query("SELECT LEADER") + query("COMMIT"))
    assert two.ran() == (["BEGIN", "SELECT x", "SELECT LEADER", "COMMIT"], [])


async def test_a_named_statement_is_known_by_its_text(two: Two) -> None:
    """Also when it was prepared in another pool, in an earlier transaction."""
    client = two.client()
    await two.ask(client, parse("SELECT LEADER", "s") + SYNC)
    await two.ask(client, query("SELECT x"))
    before = len(two.ran()[1])
    assert tags(await two.ask(client, bind("s") + execute() + SYNC)) == "2DCZi"
    assert len(two.ran()[1]) > before


async def test_in_a_transaction_elsewhere_it_is_a_session_of_that_pool(two: Two) -> None:
    client = two.client()
    await two.ask(client, query("BEGIN") + query("SELECT LEADER"))
    entry = client.session.entry
    assert (entry.pool, entry.phase) == ("election", Phase.IDLE_IN_TRANSACTION)
    assert (two.app.pool.sessions, two.election.pool.sessions) == (0, 1)
    assert client.session.home_pool is two.app.pool
    client.go()
    await two.ask(client, b"")
    assert (two.app.pool.sessions, two.election.pool.sessions) == (0, 0)


async def test_a_pin_keeps_it_where_it_is(two: Two) -> None:
    client = two.client()
    await two.ask(client, query("SET work_mem = 1"))
    await two.ask(client, query("SELECT LEADER"))
    assert two.ran() == (["SET work_mem = 1", "SELECT LEADER"], [])
    client.go()
    await two.ask(client, b"")


async def test_an_exhausted_pool_elsewhere_is_the_one_that_is_named(two: Two) -> None:
    first, second = two.client(), two.client()
    await two.ask(first, query("BEGIN") + query("SELECT LEADER"))
    await two.ask(second, query("SELECT LEADER"))
    assert second.session.entry.pool == "election"
    two.election.pool._perform(two.election.pool.state.expire(1e12, 0.0))
    assert b"pool 'election'" in second.heard
    assert second.session.entry.pool == "app"
    assert tags(await two.ask(second, query("SELECT x"))) == "TDCZi"
    await two.ask(first, query("COMMIT"))


@pytest.mark.parametrize(
    ("routes", "mode"),
    [
        ((), PoolMode.TRANSACTION),
        ((Route(match=Match(user="a*"), pool="election"),), PoolMode.TRANSACTION),
        ((Route(match=Match(user="b*", statement="x"), pool="election"),), PoolMode.TRANSACTION),
        ((ELECTS,), PoolMode.SESSION),
    ],
)
async def test_who_needs_no_routing_pays_nothing(two: Two, routes: tuple[Route, ...], mode: PoolMode) -> None:
    from dataclasses import replace

    two.app.pool.settings = replace(two.app.pool.settings, mode=mode)
    client = two.client(*routes) if routes else two.client(Route(match=Match(user="x"), pool="app"))
    assert type(client.session) is Session
    assert client.session.gate is None


async def test_the_first_route_that_matches_wins(two: Two) -> None:
    pools = {"app": two.app.pool, "election": two.election.pool}
    router = Router([ELECTS, Route(match=Match(statement="(?i)leader"), pool="app")], pools)
    assert router.pool_for(b"SELECT LEADER") is two.election.pool
    assert router.pool_for(b"select leader") is two.app.pool
    assert router.pool_for(b"select 1") is None


async def test_a_pool_that_a_reload_took_away_leads_home(two: Two) -> None:
    pools = {"election": two.election.pool}
    router = Router([ELECTS], pools)
    assert router.pool_for(b"LEADER") is not None
    pools.clear()
    assert router.pool_for(b"LEADER") is None


async def test_verdicts_are_kept_within_bounds_and_long_texts_are_seen_in_part(two: Two) -> None:
    router = Router([ELECTS], {"election": two.election.pool})
    for number in range(5000):
        router.pool_for(b"SELECT %d" % number)
    assert len(router._verdicts) <= 1024
    assert router.pool_for(b"x" * (MOST_CHARACTERS - 6) + b"LEADER") is two.election.pool
    assert router.pool_for(b"x" * MOST_CHARACTERS + b"LEADER") is None


async def test_listen_is_heard_at_home(two: Two) -> None:
    router = Router([ELECTS], {"election": two.election.pool})
    assert router.pool_for(b'LISTEN "LEADER"') is None
