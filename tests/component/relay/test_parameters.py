"""Run-time parameters: each client has its own, on whatever server."""

import pytest

from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter
from tests.support import fakepg
from tests.support.relaying import Client, House, tags
from tests.support.speech import SYNC, batch, named, parse, query

TOKYO = "Asia/Tokyo"


async def shows(client: Client, what: str = "TimeZone") -> str:
    """The value that *client* has."""
    answer = await client.ask(query(f"SHOW {what}"))
    assert tags(answer) == "TDCZi"
    return answer.split(b"D", 1)[1][10:].split(b"C\0\0\0")[0].decode()


async def test_each_client_keeps_what_it_set(house: House) -> None:
    """T1, T3, A3."""
    ann, ben = house.client(), house.client(timezone="Europe/Berlin", search_path='"a\'b", c\\d')
    await ann.ask(query(f"SET TimeZone = '{TOKYO}'"))
    for _ in range(2):
        assert await shows(ann) == TOKYO
        assert await shows(ben) == "Europe/Berlin"
        assert await shows(ben, "search_path") == '"a\'b", c\\d'
        assert await shows(ann, "search_path") == ""


async def test_a_set_that_was_rolled_back_is_not_kept(house: House) -> None:
    """T1."""
    client = house.client()
    await client.ask(query("BEGIN") + query(f"SET TimeZone = '{TOKYO}'") + query("ROLLBACK"))
    assert await shows(client) == "Etc/UTC"


async def test_a_set_of_a_client_that_vanished_in_its_transaction_meets_nobody(house: House) -> None:
    """T10: the rollback takes it back; a client that wants the same must still be given it."""
    client, like = house.client(), house.client(timezone=TOKYO)
    await client.ask(query(f"BEGIN;SET TimeZone = '{TOKYO}'"))
    client.go()
    await house.rest()
    assert await shows(like) == TOKYO
    assert await shows(house.client()) == "Etc/UTC"


@pytest.mark.parametrize(
    "reset", ["RESET ALL", "DISCARD ALL", "SELECT 1;CLOSE ALL;RESET ALL", "RESET search_path", "UNLISTEN a;RESET ALL"]
)
@pytest.mark.parametrize("extended", [False, True])
async def test_a_reset_leads_back_to_the_clients_own_beginning(house: House, reset: str, extended: bool) -> None:
    """T8: and the next client with the same parameters does not meet a server that has lost them."""
    if extended and ";" in reset:
        reset = reset.rsplit(";", 1)[1]
    mine = {"timezone": TOKYO, "search_path": "mine", "application_name": "shop"}
    client, like = house.client(**mine), house.client(**mine)
    await client.ask(query("SET application_name = 'other'"))
    await client.ask(batch(reset) if extended else query(reset))
    for each in (like, client):
        assert await shows(each, "search_path") == "mine"
        assert await shows(each) == TOKYO
    assert await shows(like, "application_name") == "shop"
    assert await shows(client, "application_name") == ("other" if reset == "RESET search_path" else "shop")


async def test_a_prepared_reset_counts_each_time_it_is_run(house: House) -> None:
    """T8, P10."""
    client, like = house.client(search_path="mine"), house.client(search_path="mine")
    await client.ask(parse("RESET ALL", "r") + SYNC)
    for _ in range(2):
        await client.ask(named("r"))
        assert await shows(like, "search_path") == "mine"


async def test_a_bad_value_fails_on_its_set(house: House) -> None:
    """T6."""
    client = house.client()
    assert tags(await client.ask(query("SET TimeZone = BAD"))) == "EZi"
    assert await shows(client) == "Etc/UTC"


async def test_a_server_is_told_only_what_differs(house: House) -> None:
    """T12."""
    ann, ben = house.client(), house.client()
    for client in (ann, ben, ann):
        await shows(client)
    assert house.postgres.ran == ["SHOW TimeZone"] * 3


async def test_a_deferred_begin_and_the_parameters_go_with_the_statement(house: House) -> None:
    """D2, D7: in one write, and nothing of it is heard by the client."""
    client, other = house.client(timezone=TOKYO), house.client()
    await shows(other)
    await client.ask(query("BEGIN READ ONLY"))
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZt"
    assert house.postgres.ran[-2:] == ["BEGIN READ ONLY", "SELECT 1"]
    assert tags(await client.ask(query("COMMIT"))) == "CZi"
    assert await shows(client) == TOKYO


@pytest.mark.parametrize("reset", ["RESET ALL", "DISCARD ALL", "RESET search_path"])
async def test_what_a_newer_postgresql_reports_too_is_told_as_it_is_after_a_reset(
    monkeypatch: pytest.MonkeyPatch, reset: str
) -> None:
    """T8: PostgreSQL 18 reports search_path. What it is in between, before the client's own comes back, is nobody's."""
    monkeypatch.setitem(fakepg.GREETING, "search_path", "public")
    house = House()
    client = house.client(search_path="mine")
    assert path_told(await client.ask(query("SET search_path = 'other'"))) == ["other"]
    assert path_told(await client.ask(query(reset))) == ["mine"]
    assert path_told(await client.ask(query(reset))) == []
    assert await shows(client, "search_path") == "mine"
    house.check()
    await house.close()


def path_told(answer: bytes) -> list[str]:
    """The values of search_path that *answer* reports."""
    frames = FrameSplitter(max_body=2**30).feed(answer)
    told = [messages.parameter_of(body) for tag, body in frames if tag == b"S"[0]]
    return [value for name, value in told if name == "search_path"]
