"""search_path, learnt from a client's own SET."""

from collections.abc import AsyncIterator

import pytest

from poolguard.settings.model import OnSessionState
from tests.support import fakepg
from tests.support.relaying import House, tags
from tests.support.speech import SYNC, batch, bind, execute, named, parse, query

SET = "SET search_path TO mine"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 0"))  # from now on a server is had at once
    yield house
    await house.close()


@pytest.mark.parametrize("how", ["simple", "unnamed", "named", "quoted"])
async def test_a_lone_set_pins_nothing_and_is_said_again(house: House, how: str) -> None:
    """T1: on each server that others have used meanwhile, word by word."""
    client, other = house.client(), house.client()
    said = {
        "simple": query(SET),
        "unnamed": batch(SET),
        "named": parse(SET, "s") + SYNC,
        "quoted": query("set session search_path = 'mine' ; "),
    }
    assert tags(await client.ask(said[how]))[-2:] == "Zi"
    if how == "named":
        await client.ask(named("s"))
    for _ in range(2):
        assert b"mine" not in await other.ask(query("SHOW search_path"))
        assert b"mine" in await client.ask(query("SHOW search_path"))
    assert house.pool.pinned == 0
    assert not house.counters.pins_total
    assert client.session.entry.sets == ()
    house.check_at_rest()


@pytest.mark.parametrize(
    "reset", ["RESET search_path", "SET search_path TO DEFAULT", "RESET ALL", "DISCARD ALL", "CLOSE ALL; RESET ALL"]
)
@pytest.mark.parametrize("extended", [False, True])
async def test_a_lone_reset_takes_it_back(house: House, reset: str, extended: bool) -> None:
    """T8."""
    if extended and ";" in reset:
        reset = "RESET ALL"
    client, other = house.client(), house.client(search_path="other")
    await client.ask(query(SET))
    await other.ask(query("SELECT 1"))
    await client.ask(batch(reset) if extended else query(reset))
    for _ in range(2):
        assert b"other" in await other.ask(query("SHOW search_path"))
        assert b"mine" not in await client.ask(query("SHOW search_path"))
    assert house.pool.pinned == 0
    house.check_at_rest()


@pytest.mark.parametrize(
    "said",
    [
        query("BEGIN") + query(SET) + query("ROLLBACK"),
        query("SELECT 1;" + SET),
        batch("SELECT 1")[: -len(SYNC)] + batch(SET),
        batch(SET)[: -len(SYNC)] + batch("SELECT 1"),
        batch(SET)[: -len(SYNC)] + batch("BEGIN"),
        query("SELECT set_config('search_path', 'mine', false)"),
        query("SET search_path TO e'mine'"),
        query(SET + "," + "x" * 1100),
        query("SELECT 1") + query(SET),
    ],
)
async def test_what_could_be_undone_or_is_not_plain_pins(house: House, said: bytes) -> None:
    """T1, T2, T7."""
    client = house.client()
    await client.ask(said)
    assert house.pool.pinned == 1
    assert sum(house.counters.pins_total.values()) == 1


async def test_a_reset_in_a_transaction_pins(house: House) -> None:
    """T1, T8: whether it lasts only that server knows."""
    client = house.client()
    await client.ask(query(SET))
    await client.ask(query("BEGIN") + query("RESET search_path"))
    await client.ask(query("COMMIT"))
    assert house.counters.pins_total == {("app", "path"): 1}
    assert b"mine" not in await client.ask(query("SHOW search_path"))
    await client.ask(query(SET))
    assert house.pool.pinned == 0


async def test_a_set_behind_a_prepared_statement_pins(house: House) -> None:
    """P13: PostgreSQL would compare its columns with those that it told."""
    client = house.client()
    await client.ask(parse("SELECT 1", "s") + SYNC)
    await client.ask(query(SET))
    assert client.session.entry.pin == "SET search_path"
    assert house.pool.pinned == 1
    await client.ask(query("RESET ALL"))
    assert house.pool.pinned == 0


async def test_clients_with_different_paths_never_share_a_statement(house: House) -> None:
    """P13."""
    ann, ben, cat = house.client(), house.client(), house.client()
    await ann.ask(query(SET))
    await cat.ask(query(SET))
    await ben.ask(query("SET search_path TO other"))
    for client in (ann, ben, cat):
        await client.ask(parse("SELECT 1", "s") + SYNC)
    one, two, three = (client.session.statements[b"s"] for client in (ann, ben, cat))
    assert one is three
    assert one is not two


@pytest.mark.parametrize(("on", "pinned"), [(OnSessionState.REJECT, 0), (OnSessionState.IGNORE, 0)])
async def test_what_is_learnt_is_neither_rejected_nor_ignored(on: OnSessionState, pinned: int) -> None:
    """T1: in a transaction it is as other state."""
    house = House(on_session_state=on)
    client, other = house.client(), house.client()
    assert tags(await client.ask(query(SET))) == "CZi"
    assert b"mine" not in await other.ask(query("SHOW search_path"))
    assert b"mine" in await client.ask(query("SHOW search_path"))
    refused = on is OnSessionState.REJECT
    assert ("E" in tags(await client.ask(query("BEGIN") + query(SET) + query("ROLLBACK")))) is refused
    assert ("E" in tags(await client.ask(batch("SELECT 1")[: -len(SYNC)] + batch(SET)))) is refused
    assert house.pool.pinned == pinned
    await house.close()


async def test_an_error_beside_it_keeps_the_server(house: House) -> None:
    """T6: what was set then, only that server knows."""
    client = house.client()
    await client.ask(parse(SET) + bind(portal="a") + execute() + SYNC)
    assert house.pool.pinned == 1


async def test_a_client_that_leaves_meanwhile_leaves_a_clean_server(house: House) -> None:
    """T10."""
    client = house.client()
    client.say(query(SET))
    client.go()
    await house.rest()
    assert b"mine" not in await house.client().ask(query("SHOW search_path"))
    assert house.pool.pinned == 0


async def test_where_it_is_reported_it_is_followed_whatever_becomes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """T1, A3: PostgreSQL 18."""
    monkeypatch.setitem(fakepg.GREETING, "search_path", "public")
    house = House()
    client, other = house.client(), house.client()
    for end, path in (("ROLLBACK", b"public"), ("COMMIT", b"mine")):
        await client.ask(query("BEGIN") + query(SET) + query(end))
        assert b"public" in await other.ask(query("SHOW search_path"))
        assert path in await client.ask(query("SHOW search_path"))
    await client.ask(parse("SELECT 1", "s") + SYNC)
    await other.ask(parse("SELECT 1", "s") + SYNC)
    assert client.session.statements[b"s"] is not other.session.statements[b"s"]
    await client.ask(query("DISCARD ALL"))
    assert b"public" in await client.ask(query("SHOW search_path"))
    assert house.pool.pinned == 0
    await house.close()
