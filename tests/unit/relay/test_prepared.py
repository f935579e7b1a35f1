"""The hot path of statements that a client runs by name: what goes it, and what must not."""

from collections.abc import AsyncIterator

import pytest

from poolguard.ledger.entries import Phase
from poolguard.relay.session import Session
from poolguard.relay.statements import PREFIX
from tests.support.relaying import Client, House, errors, sqlstates, tags
from tests.support.speech import FLUSH, SYNC, bind, close, describe, execute, message, named, parse, query

RUN_DESCRIBED = bind("a") + describe() + execute() + SYNC


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


async def prepared(house: House, text: str = "SELECT a", name: str = "a") -> Client:
    client = house.client()
    assert tags(await client.ask(parse(text, name) + SYNC)) == "1Zi"
    return client


def nothing_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(*_: object) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr(Session, "walk", walk)


@pytest.mark.parametrize(("said", "answer"), [(named("a"), "2DCZi"), (RUN_DESCRIBED, "2TDCZi")])
async def test_a_plain_batch_of_a_known_statement_is_not_walked(
    house: House, said: bytes, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its name is another."""
    client = await prepared(house)
    nothing_is_walked(monkeypatch)
    assert tags(await client.ask(said)) == answer
    entry = client.session.entry
    assert (entry.statement, list(entry.recent), entry.statements) == (b"SELECT a", [b"SELECT a"], 1)
    assert house.postgres.ran == ["SELECT a"]
    house.check_at_rest()


async def test_it_is_active_while_it_runs(house: House) -> None:
    client = await prepared(house)
    house.upstreams[0].silent = True
    client.say(named("a"))
    assert client.session.entry.phase is Phase.ACTIVE


async def test_in_a_transaction_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a deferred BEGIN, with it in one write, and again on the server that is held."""
    client = await prepared(house)
    nothing_is_walked(monkeypatch)
    assert tags(await client.ask(query("BEGIN"))) == "CZt"
    assert tags(await client.ask(named("a"))) == "2DCZt"
    assert tags(await client.ask(named("a"))) == "2DCZt"
    assert tags(await client.ask(query("COMMIT"))) == "CZi"
    assert house.postgres.ran == ["BEGIN", "SELECT a", "SELECT a", "COMMIT"]
    house.check_at_rest()


async def test_whoever_waited_is_not_walked_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client, holder = await prepared(house), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    nothing_is_walked(monkeypatch)
    client.say(named("a"))
    assert client.session.entry.phase is Phase.WAITING
    await holder.ask(query("COMMIT"))
    assert tags(client.heard) == "1Zi2DCZi"
    house.check_at_rest()


async def test_what_is_said_behind_it_while_it_waits_goes_on_in_order(house: House) -> None:
    client, holder = await prepared(house), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(named("a"))
    client.say(query("SELECT x") + named("a"))
    await holder.ask(query("COMMIT"))
    assert tags(client.heard) == "1Zi2DCZiTDCZi2DCZi"
    house.check_at_rest()


async def test_a_wait_for_a_statement_leaves_nothing_for_the_next_wait(house: House) -> None:
    client, holder = await prepared(house), house.client()
    for said, answer in ((named("a"), "2DCZi"), (query("SELECT x") + query("SELECT y"), "TDCZiTDCZi")):
        await holder.ask(query("BEGIN;SELECT 1"))
        before = len(client.heard)
        client.say(said)
        await holder.ask(query("COMMIT"))
        assert tags(client.heard[before:]) == answer
    house.check_at_rest()


async def test_a_server_that_lacks_it_is_given_it_in_the_same_write(pair_of_servers: House) -> None:
    """The client hears of one statement only."""
    client = await prepared(pair_of_servers)
    other = pair_of_servers.client("other")
    await other.ask(query("BEGIN;SELECT other"))
    assert tags(await client.ask(named("a"))) == "2DCZi"
    assert [name.startswith(PREFIX.decode()) for name in pair_of_servers.upstreams[1].postgres.prepared] == [True]
    await other.ask(query("COMMIT"))
    pair_of_servers.check_at_rest()


@pytest.fixture
async def pair_of_servers() -> AsyncIterator[House]:
    house = House(size=2)
    yield house
    await house.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (bind("a", "cursor") + execute("cursor") + SYNC, "2DCZi"),
        (bind("a") + execute() + bind("a") + execute() + SYNC, "2DC2DCZi"),
        (bind("a") + describe("S", "a") + execute() + SYNC, "2tTDCZi"),
        (bind("a") + execute() + FLUSH + SYNC, "2DCZi"),
        (named("a") + query("SELECT x"), "2DCZiTDCZi"),
        (named("a") + named("a"), "2DCZi2DCZi"),
        (bind("a") + close("S", "a") + SYNC, "23Zi"),
        (bind("a") + SYNC, "2Zi"),
    ],
)
async def test_what_is_not_one_plain_batch_is_answered_all_the_same(house: House, said: bytes, answer: str) -> None:
    client = await prepared(house)
    assert tags(await client.ask(said)) == answer
    house.check_at_rest()


async def test_a_name_that_was_closed_is_none() -> None:
    """P11."""
    house = House()
    client = await prepared(house)
    await client.ask(close("S", "a") + SYNC)
    (error,) = errors(await client.ask(named("a")))
    assert (error["C"], error["M"]) == ("26000", 'prepared statement "a" does not exist')
    await house.close()


async def test_a_bind_that_ends_before_its_name_does_is_the_clients_fault(house: House) -> None:
    """What follows it must not be taken for its name, or the lengths on the server's side would be wrong."""
    client = await prepared(house, name="abcD")
    said = message(b"B", b"\0abc") + describe() + execute() + SYNC
    assert sqlstates(await client.ask(said)) == ["08P01"]
    assert house.postgres.ran == []
