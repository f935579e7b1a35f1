"""Greeting clients: what is asked of PostgreSQL, how often, and what becomes of a server that was borrowed for it."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from poolguard.core.errors import PoolExhausted, PoolguardError
from poolguard.pool.pool import Pool
from poolguard.pool.state import Refusal
from poolguard.relay.lobby import WELCOMES_LIMIT, Lobby, ParameterRefused
from poolguard.relay.parameters import NONE
from poolguard.relay.server import Server
from tests.support.fakepg import GREETING
from tests.support.relaying import House
from tests.support.speech import query


def refuse(pool: Pool[Server], reason: Refusal) -> PoolguardError:
    return PoolExhausted(f"{pool.name}: {reason}")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """One server."""
    house = House(wait_timeout=0.05)
    yield house
    await house.rest()
    house.check()
    await house.close()


@pytest.fixture
def lobby(house: House) -> Lobby:
    lobby = Lobby(house.pool, refuse)
    lobby.greeting = dict(GREETING)
    return lobby


async def test_the_first_client_waits_for_the_greeting_of_a_first_server(house: House) -> None:
    lobby = Lobby(house.pool, refuse)
    plain = house.pool.opener

    async def opener() -> Server:
        server = await plain()
        lobby.greeting = dict(GREETING)  # as the relay's does
        return server

    house.pool.opener = opener
    welcome = await lobby.admit({}, monotonic)
    assert (welcome.wanted, welcome.status) == (NONE, GREETING)
    await house.rest()
    house.check_at_rest()


async def test_what_costs_nothing_asks_nobody(house: House, lobby: Lobby) -> None:
    welcome = await lobby.admit({"application_name": "shop"}, monotonic)
    assert welcome.wanted.items == (("application_name", "shop"),)
    assert welcome.status["application_name"] == "shop"
    assert house.upstreams == []


async def test_each_pair_is_asked_once(house: House, lobby: Lobby) -> None:
    for _ in range(3):
        wanted = (await lobby.admit({"DateStyle": "German"}, monotonic)).wanted
        assert wanted.items == (("datestyle", "German"),)
    assert len([sql for sql in house.postgres.ran if "datestyle" in sql.lower()]) == 1
    await house.rest()
    house.check_at_rest()


async def test_another_greeting_is_for_the_next_client(house: House, lobby: Lobby) -> None:
    """S11: PostgreSQL was upgraded under the pool; nobody is sent away for it."""
    before = (await lobby.admit({}, monotonic)).status
    lobby.greeting = {**GREETING, "TimeZone": "Asia/Tokyo", "server_version": "19.1"}
    after = (await lobby.admit({"application_name": "shop"}, monotonic)).status
    assert "server_version" not in before
    assert (after["server_version"], after["TimeZone"]) == ("19.1", "Asia/Tokyo")


async def test_what_is_known_is_told_at_once_and_what_is_not_is_not_guessed(house: House, lobby: Lobby) -> None:
    assert lobby.known({"DateStyle": "German"}) is None
    admitted = await lobby.admit({"DateStyle": "German"}, monotonic)
    assert lobby.known({"DateStyle": "German"}) == admitted
    assert lobby.known({"DateStyle": "SQL"}) is None
    assert b"\0German\0" in admitted.reported
    lobby.greeting = None  # its PostgreSQL is another now
    assert lobby.known({}) is None
    await house.rest()


def test_clients_of_many_names_fill_no_memory(lobby: Lobby) -> None:
    for number in range(3 * WELCOMES_LIMIT):
        assert lobby.known({"application_name": str(number)}) is not None
    assert len(lobby._welcomes) <= WELCOMES_LIMIT


async def test_a_pool_that_is_busy_refuses_as_it_refuses_a_statement(house: House, lobby: Lobby) -> None:
    holder = house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    with pytest.raises(PoolExhausted):
        await lobby.admit({"DateStyle": "German"}, monotonic)
    await holder.ask(query("COMMIT"))
    assert house.pool.state.waiting == 0
    house.check_at_rest()


async def test_a_client_that_goes_while_it_waits_keeps_nothing(house: House, lobby: Lobby) -> None:
    """B1: also if it was given a server a moment ago."""
    holder = house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    for given in (False, True):
        asked = asyncio.ensure_future(lobby.admit({"DateStyle": "German"}, monotonic))
        await asyncio.sleep(0)
        assert house.pool.state.waiting == 1
        if given:
            holder.say(query("COMMIT"))
            while house.pool.state.waiting:  # noqa: ASYNC110 - the very turn counts
                await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    await house.rest()
    house.check_at_rest()
    assert house.pool.state.idle == 1


def test_a_refused_parameter_speaks_with_postgresqls_words() -> None:
    """S13."""
    error = ParameterRefused({"C": "22023", "M": "no", "D": "detail", "H": "hint"})
    assert (error.sqlstate, error.message, error.detail, error.hint) == ("22023", "no", "detail", "hint")
