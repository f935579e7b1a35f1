"""A refused statement is sent again without its client knowing, or the client is told; never both, never twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import ShuttingDown
from poolguard.relay import hands, retrying
from poolguard.settings.model import Retry
from poolguard.settings.policies import PolicyMode
from poolguard.wire import messages
from tests.support.eventually import eventually_async
from tests.support.relaying import Client, House, sqlstates, tags
from tests.support.speech import batch, message, query

REFUSAL = messages.error_response("40P01", "deadlock detected") + messages.READY[b"I"[0]]
DONE = message(b"C", b"UPDATE 1\0") + messages.READY[b"I"[0]]
UPDATE = "UPDATE a SET b = 1"


async def made(monkeypatch: pytest.MonkeyPatch, pause: float = 0.0, **retry: object) -> House:
    monkeypatch.setattr(retrying, "SHORTEST_PAUSE", pause)
    monkeypatch.setattr(retrying, "LONGEST_PAUSE", pause)
    house = House(retry=Retry(**retry))  # type: ignore[arg-type]
    await house.client().ask(query("SELECT 1"))  # opens the server
    return house


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A retry comes at once."""
    one = await made(monkeypatch)
    yield one
    one.check()
    await one.close()


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A retry comes after longer than any test."""
    one = await made(monkeypatch, pause=5.0)
    yield one
    one.check()
    await one.close()


def outcomes(house: House) -> dict[str, int]:
    return {outcome: number for (_, _, outcome), number in house.counters.retries_total.items()}


def sent(house: House) -> int:
    return len(house.upstreams[0].transport.written)


async def refuse(house: House, client: Client, data: bytes, reply: bytes = REFUSAL) -> None:
    """*client* says *data*, PostgreSQL answers *reply*."""
    upstream = house.upstreams[0]
    upstream.silent = True
    before = sent(house)
    if data:
        client.say(data)
    await eventually_async(lambda: sent(house) > before)
    upstream.discard()
    upstream.silent = False
    upstream.answer(reply)


@pytest.mark.parametrize("data", [query(UPDATE), batch(UPDATE)])
async def test_the_client_hears_only_of_the_try_that_went_through(house: House, data: bytes) -> None:
    client = house.client()
    await refuse(house, client, data)
    await eventually_async(lambda: client.heard)
    assert "E" not in tags(client.heard)
    assert house.postgres.ran.count(UPDATE) == 2  # the fake ran the first one too, whatever it was made to say
    assert outcomes(house) == {"retried": 1, "healed": 1}
    house.check_at_rest()


async def test_parameters_that_were_set_ahead_are_not_set_again(house: House) -> None:
    client = house.client(TimeZone="Europe/Berlin")
    await refuse(house, client, query(UPDATE), message(b"C", b"SELECT 1\0") + messages.READY[b"I"[0]] + REFUSAL)
    await eventually_async(lambda: client.heard)
    assert "E" not in tags(client.heard)
    assert sum("set_config" in sql for sql in house.postgres.ran) == 1
    assert outcomes(house) == {"retried": 1, "healed": 1}


async def test_error_and_ready_for_query_come_in_two_pieces(house: House) -> None:
    """PostgreSQL sends an error before it has cleaned up behind it."""
    client = house.client()
    await refuse(house, client, query(UPDATE), REFUSAL[:-6])
    await house.rest()
    assert client.heard == b""
    house.upstreams[0].answer(REFUSAL[-6:])
    await eventually_async(lambda: client.heard)
    assert "E" not in tags(client.heard)


async def test_a_server_that_dies_behind_its_error_leaves_the_error_to_the_client(house: House) -> None:
    client = house.client()
    await refuse(house, client, query(UPDATE), REFUSAL[:-6])
    await house.rest()
    house.upstreams[0].lose()
    await house.rest()
    assert sqlstates(client.heard) == ["40P01", "08006"]


async def test_after_the_last_attempt_the_client_is_told_once(house: House) -> None:
    client = house.client()
    await refuse(house, client, query(UPDATE))
    for _ in range(2):
        await refuse(house, client, b"")
    await eventually_async(lambda: client.heard)
    assert tags(client.heard) == "EZi"
    assert outcomes(house) == {"retried": 2, "given_up": 1}
    house.check_at_rest()


async def test_what_is_inside_of_a_transaction_is_never_sent_again(house: House) -> None:
    """Check 11."""
    client = house.client()
    await client.ask(query("BEGIN"))
    await refuse(house, client, query(UPDATE), REFUSAL[:-1] + b"E")
    await eventually_async(lambda: "E" in tags(client.heard))
    assert outcomes(house) == {}
    client.go()
    await house.rest()


async def test_what_is_no_single_write_goes_to_the_client(house: House) -> None:
    """Check 11."""
    client = house.client()
    await refuse(house, client, query("CALL p()"))
    await eventually_async(lambda: client.heard)
    assert (tags(client.heard), outcomes(house)) == ("EZi", {"unfit": 1})


async def test_observe_counts_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    house = await made(monkeypatch, mode=PolicyMode.OBSERVE)
    client = house.client()
    await refuse(house, client, query(UPDATE))
    await eventually_async(lambda: client.heard)
    assert (tags(client.heard), outcomes(house)) == ("EZi", {"observed": 1})
    await house.close()


async def test_a_cancel_ends_the_wait_for_the_next_try(slow: House) -> None:
    """Nothing runs: the client gets PostgreSQL's own refusal, and its server serves the next."""
    client = slow.client()
    await refuse(slow, client, query(UPDATE))
    await slow.rest()
    assert client.heard == b""
    await hands.cancel(client.session, client.session.entry.checkout)
    await slow.rest()
    assert (tags(client.heard), sqlstates(client.heard)) == ("EZi", ["40P01"])
    slow.check_at_rest()


async def test_a_cancel_while_it_runs_means_that_it_is_not_tried_again(slow: House) -> None:
    client = slow.client()
    upstream = slow.upstreams[0]
    upstream.silent = True
    client.say(query(UPDATE))
    await hands.cancel(client.session, client.session.entry.checkout)
    await slow.rest()
    upstream.discard()
    upstream.silent = False
    upstream.answer(REFUSAL)
    await slow.rest()
    assert sqlstates(client.heard) == ["40P01"]


async def test_a_client_that_speaks_meanwhile_is_told_first(slow: House) -> None:
    client = slow.client()
    await refuse(slow, client, query(UPDATE))
    await slow.rest()
    answer = await client.ask(query("INSERT 2"))
    assert tags(answer) == "EZiCZi"
    slow.check_at_rest()


async def test_a_client_that_goes_meanwhile_leaves_a_clean_server(slow: House) -> None:
    client = slow.client()
    await refuse(slow, client, query(UPDATE))
    await slow.rest()
    client.go()
    await slow.rest()
    slow.check_at_rest()


async def test_a_drain_does_not_wait_for_the_next_try(slow: House) -> None:
    client = slow.client()
    await refuse(slow, client, query(UPDATE))
    await slow.rest()
    client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    await slow.rest()
    assert sqlstates(client.heard) == ["40P01", "57P01"]
    slow.check_at_rest()


async def test_when_the_server_dies_meanwhile_the_client_is_told_of_both(slow: House) -> None:
    client = slow.client()
    await refuse(slow, client, query(UPDATE))
    await slow.rest()
    slow.upstreams[0].lose()
    await slow.rest()
    await asyncio.sleep(0)
    assert sqlstates(client.heard) == ["40P01", "08006"]
