"""A refused statement is sent again without its client knowing, or the client is told; never both, never twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import ShuttingDown
from poolguard.ledger.entries import Phase
from poolguard.relay import hands, retrying
from poolguard.settings.lanes import Lane, LaneMatch
from poolguard.settings.model import Retry
from poolguard.settings.policies import PolicyMode
from poolguard.wire import messages
from tests.support.eventually import eventually_async
from tests.support.relaying import Client, House, sqlstates, tags
from tests.support.speech import SYNC, batch, bind, describe, execute, message, named, parse, query

REFUSAL = messages.error_response("40P01", "deadlock detected") + messages.READY[b"I"[0]]
DONE = message(b"C", b"UPDATE 1\0") + messages.READY[b"I"[0]]
UPDATE = "UPDATE a SET b = 1"


async def made(
    monkeypatch: pytest.MonkeyPatch, pause: float = 0.0, size: int = 1, lanes: tuple[Lane, ...] = (), **retry: object
) -> House:
    monkeypatch.setattr(retrying, "SHORTEST_PAUSE", pause)
    monkeypatch.setattr(retrying, "LONGEST_PAUSE", pause)
    house = House(size=size, lanes=lanes, retry=Retry(**retry))  # type: ignore[arg-type]
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


async def test_a_prepared_statement_is_one_statement_too(house: House) -> None:
    """As asyncpg, pgx and Prisma say it: the name is the client's, PostgreSQL knows it by ours."""
    client = house.client()
    await client.ask(parse(UPDATE, "s") + describe("S", "s") + SYNC)
    before = len(client.heard)
    await refuse(house, client, named("s"), message(b"2") + REFUSAL)
    await eventually_async(lambda: len(client.heard) > before)
    assert tags(client.heard[before:]) == "2CZi"
    assert house.postgres.ran.count(UPDATE) == 2
    assert outcomes(house) == {"retried": 1, "healed": 1}
    house.check_at_rest()


async def test_a_prepared_statement_is_prepared_anew_where_its_server_lost_it(house: House) -> None:
    """A Parse of poolguard's own is refused: it is sent again with what it was for."""
    client = house.client()
    await client.ask(parse(UPDATE, "s") + SYNC)
    assert house.upstreams[0].server is not None
    house.upstreams[0].server.known.clear()
    house.postgres.prepared.clear()
    before = len(client.heard)
    await refuse(house, client, named("s"), REFUSAL)
    house.postgres.prepared.clear()
    await eventually_async(lambda: len(client.heard) > before)
    assert tags(client.heard[before:]) == "2CZi"
    assert outcomes(house) == {"retried": 1, "healed": 1}
    house.check_at_rest()


async def test_a_prepared_statement_that_is_refused_to_the_end_is_told_once(house: House) -> None:
    client = house.client()
    await client.ask(parse(UPDATE, "s") + SYNC)
    before = len(client.heard)
    await refuse(house, client, named("s"), message(b"2") + REFUSAL)
    for _ in range(2):
        await refuse(house, client, b"", message(b"2") + REFUSAL)
    await eventually_async(lambda: len(client.heard) > before)
    assert tags(client.heard[before:]) == "2EZi"
    assert outcomes(house) == {"retried": 2, "given_up": 1}
    house.check_at_rest()


@pytest.mark.parametrize(
    "data",
    [
        parse(UPDATE, "s") + bind("s") + execute() + SYNC,
        bind("t") + execute() + bind("t") + execute() + SYNC,
        named("t") + named("t"),
        bind("t") + execute(rows=1) + SYNC,
        named("call"),
    ],
    ids=["it is given its name", "twice in a batch", "two batches", "with a limit on rows", "no single write"],
)
async def test_what_is_not_one_prepared_statement_goes_to_the_client(house: House, data: bytes) -> None:
    client = house.client()
    await client.ask(parse(UPDATE, "t") + SYNC + parse("CALL p()", "call") + SYNC)
    before = len(client.heard)
    await refuse(house, client, data, message(b"2") + REFUSAL)
    await eventually_async(lambda: "E" in tags(client.heard[before:]))
    assert outcomes(house).keys() <= {"unfit"}
    client.go()
    await house.rest()


async def test_in_a_lane_the_place_is_kept_until_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """To those who wait it looks like a longer wait, too."""
    lane = Lane(name="hot", match=LaneMatch(statement="^update"), at_once=1)
    house = await made(monkeypatch, pause=0.0, size=2, lanes=(lane,))
    client, waiter = house.client(), house.client()
    upstream = house.upstreams[0]
    upstream.silent = True
    client.say(query(UPDATE))
    waiter.say(query("UPDATE b SET c = 1"))
    upstream.discard()
    upstream.answer(REFUSAL)
    upstream.silent = False
    monkeypatch.setattr(retrying, "SHORTEST_PAUSE", 5.0)
    monkeypatch.setattr(retrying, "LONGEST_PAUSE", 5.0)
    upstream.speak()
    await house.rest()
    assert outcomes(house) == {"retried": 1}
    assert waiter.session.entry.phase is Phase.WAITING_IN_LANE
    client.session.cancel_seen()
    await house.rest()
    assert (sqlstates(client.heard), tags(waiter.heard)) == (["40P01"], "CZi")
    house.check_at_rest()
    await house.close()


async def test_in_a_pool_with_lanes_a_retry_heals_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(name="hot", match=LaneMatch(statement="^update"), at_once=1)
    house = await made(monkeypatch, pause=0.0, lanes=(lane,))
    client = house.client()
    for data in (query(UPDATE), batch(UPDATE)):
        before = len(client.heard)
        await refuse(house, client, data)
        await eventually_async(lambda: len(client.heard) > before)  # noqa: B023 - awaited in this round
        assert "E" not in tags(client.heard[before:])
    assert outcomes(house) == {"retried": 2, "healed": 2}
    house.check_at_rest()
    await house.close()


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
