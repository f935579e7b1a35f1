"""What the guard does to a transaction, and what its client is told."""

import asyncio

import pytest

from poolguard.core.errors import IdleTransactionEnded
from poolguard.ledger.entries import Phase
from poolguard.ledger.hands import Outcome
from poolguard.pool.snapshot import CloseReason
from poolguard.relay import hands
from tests.support.relaying import Client, House, errors, sqlstates, tags
from tests.support.speech import FLUSH, SYNC, batch, bind, copy_data, execute, named, parse, query

WHY = IdleTransactionEnded("idle for too long")
ENDED = ["25P03"]


async def end(house: House, client: Client) -> Outcome:
    """Roll back what *client* has open; the server is clean again when this returns."""
    outcome = await hands.roll_back(client.session, client.session.entry.checkout, WHY)
    await house.rest()
    return outcome


async def leaked(house: House, *before: bytes) -> Client:
    """A client whose transaction was rolled back behind its back."""
    client = house.client()
    for said in before:
        await client.ask(said)
    await client.ask(query("BEGIN;INSERT a"))
    assert await end(house, client) is Outcome.DONE
    return client


@pytest.mark.parametrize("said", [query("SELECT 1"), query("COMMIT"), batch("SELECT 1"), batch("COMMIT"), query("F")])
async def test_nothing_of_a_dead_transaction_runs_outside_of_it(house: House, said: bytes) -> None:
    """G1, G2, G4, G11."""
    client = await leaked(house)
    answer = await client.ask(said)
    assert sqlstates(answer) == ENDED
    assert b"COMMIT" not in answer
    assert b"ROLLBACK" not in answer
    assert house.postgres.ran == ["BEGIN", "INSERT a", "ROLLBACK"]
    await client.ask(query("ROLLBACK"))
    assert house.postgres.committed == []
    house.check_at_rest()


async def test_the_session_goes_on_after_its_rollback(house: House) -> None:
    """G1, G3."""
    client = await leaked(house)
    assert tags(await client.ask(query("SELECT 1"))) == "EZe"
    assert tags(await client.ask(query("ROLLBACK"))) == "CZi"
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi"
    assert tags(await (await leaked(house)).ask(query("ROLLBACK"))) == "CZi"


async def test_its_batch_goes_on_behind_a_rollback(house: House) -> None:
    """G3, G4: [ROLLBACK, SELECT, Sync] in one batch: the SELECT is outside of the dead transaction."""
    client = await leaked(house)
    both = parse("ROLLBACK") + bind() + execute() + parse("SELECT 1") + bind() + execute() + SYNC
    assert tags(await client.ask(both)) == "12C12DCZi"
    house.check_at_rest()


async def test_the_server_serves_the_next_waiter_with_no_byte_of_the_old_session(house: House) -> None:
    """G9: and the client in the queue needs no new connection."""
    client, waiter = house.client(), house.client("next")
    await client.ask(query("BEGIN;INSERT a"))
    waiter.say(query("SELECT 1"))
    assert waiter.heard == b""
    await end(house, client)
    assert tags(waiter.heard) == "TDCZi"
    assert len(house.upstreams) == 1
    assert client.session.entry.phase is Phase.ENDED


async def test_a_message_that_comes_while_the_rollback_is_under_way_does_not_reach_the_server(house: House) -> None:
    """G6."""
    client = house.client()
    await client.ask(query("BEGIN;INSERT a"))
    house.upstreams[0].silent = True
    task = asyncio.ensure_future(hands.roll_back(client.session, client.session.entry.checkout, WHY))
    await house.rest()
    before = len(client.heard)
    client.say(query("INSERT b"))
    assert sqlstates(client.heard[before:]) == ENDED
    house.upstreams[0].silent = False
    house.upstreams[0].speak()
    assert await task is Outcome.DONE
    assert house.postgres.ran == ["BEGIN", "INSERT a", "ROLLBACK"]


async def test_half_a_message_is_answered_like_a_whole_one_when_it_has_come(house: House) -> None:
    """G7, X19."""
    client = house.client()
    await client.ask(query("BEGIN;INSERT a"))
    said = query("INSERT b") + query("ROLLBACK")
    client.say(said[:9])
    await end(house, client)
    assert tags(await client.ask(said[9:])) == "EZeCZi"
    assert "INSERT b" not in house.postgres.ran


@pytest.mark.parametrize("first", [query("LISTEN a"), query("SET work_mem = 7"), query("SELECT pg_advisory_lock(1)")])
async def test_what_pins_a_session_survives(house: House, first: bytes) -> None:
    """G8."""
    client = await leaked(house, first)
    assert house.postgres.status == "I"
    kept = (house.postgres.listens, house.postgres.advisory_locks, house.postgres.parameters.get("work_mem"))
    assert kept != (set(), 0, None)
    assert tags(await client.ask(query("SELECT 1") + query("ROLLBACK"))) == "EZeCZi"
    assert tags(await client.ask(query("SHOW work_mem"))) == "TDCZi"
    assert (house.postgres.listens, house.postgres.advisory_locks, house.postgres.parameters.get("work_mem")) == kept


async def test_names_of_statements_survive(house: House) -> None:
    """G8."""
    client = await leaked(house, parse("SELECT 1", "a") + SYNC)
    await client.ask(query("ROLLBACK"))
    assert tags(await client.ask(named("a"))) == "2DCZi"


async def test_a_parameter_set_in_the_dead_transaction_is_what_it_was_before(house: House) -> None:
    """G8, T1: the client is told, and no other client meets it."""
    client, like = house.client(), house.client(timezone="Asia/Tokyo")
    await client.ask(query("BEGIN;SET TimeZone = 'Asia/Tokyo'"))
    before = len(client.heard)
    await end(house, client)
    assert client.heard[before:] == b"S\0\0\0\x15TimeZone\0Etc/UTC\0"
    assert b"Asia/Tokyo" in await like.ask(query("SHOW TimeZone"))
    await client.ask(query("ROLLBACK"))
    assert b"Etc/UTC" in await client.ask(query("SHOW TimeZone"))


@pytest.mark.parametrize(
    "busy",
    [
        query("SELECT FOREVER"),
        parse("INSERT a") + FLUSH,
        parse("FAIL") + bind() + execute() + FLUSH,
        query("COPY t FROM STDIN"),
    ],
)
async def test_what_is_in_flight_is_not_rolled_back(house: House, busy: bytes) -> None:
    client = house.client()
    await client.ask(query("BEGIN;INSERT a"))
    client.say(busy)
    await house.rest()
    assert await end(house, client) is Outcome.REFUSED
    client.go()
    await house.rest()
    house.check_at_rest()


async def test_an_action_on_a_checkout_that_is_over_does_nothing(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN;INSERT a"))
    old = client.session.entry.checkout
    await client.ask(query("COMMIT"))
    await client.ask(query("BEGIN;SELECT 1"))
    assert await hands.roll_back(client.session, old, WHY) is Outcome.VICTIM_MOVED
    assert await hands.cancel(client.session, old) is Outcome.VICTIM_MOVED
    assert await hands.terminate(client.session, old, WHY) is Outcome.VICTIM_MOVED
    assert not client.transport.closing


async def test_nothing_is_done_to_a_deferred_transaction(house: House) -> None:
    """D1: it holds nothing."""
    client = house.client()
    await client.ask(query("BEGIN"))
    assert await end(house, client) is Outcome.VICTIM_MOVED
    assert not house.ledger.holders


@pytest.mark.parametrize(
    "busy",
    [
        b"",
        query("SELECT FOREVER"),
        parse("INSERT a") + bind() + execute() + FLUSH,
        parse("FAIL") + bind() + execute() + FLUSH,
        query("COPY t FROM STDIN"),
        batch("COPY t FROM STDIN"),
        batch("COPY t FROM STDIN") + copy_data(b"1\n"),
    ],
)
async def test_terminating_tells_the_client_once_and_waits_for_nothing_that_cannot_come(
    house: House, busy: bytes
) -> None:
    client = house.client()
    await client.ask(query("BEGIN;INSERT a"))
    client.say(busy)
    await house.rest()
    before = len(client.heard)
    outcome = await hands.terminate(client.session, client.session.entry.checkout, WHY)
    assert outcome is Outcome.DONE
    (fatal,) = errors(client.heard[before:])
    assert (fatal["S"], fatal["C"]) == ("FATAL", "25P03")
    assert client.transport.closing
    await house.rest()
    assert house.pool.closed == {CloseReason.TERMINATED: 1}
    assert house.postgres.said_goodbye
    house.check_at_rest()


async def test_a_server_is_not_handed_on_before_the_cancel_connection_has_closed(house: House) -> None:
    """K2: the cancel comes too late for its statement; it must not hit the next one."""
    house.cancel_gate = asyncio.Event()
    client, waiter = house.client(), house.client()
    client.say(query("SELECT FOREVER"))
    await house.rest()
    waiter.say(query("SELECT FOREVER"))
    client.cancel()
    await house.rest()
    upstream = house.upstreams[0]
    upstream.answer(upstream.postgres.finish())
    await house.rest()
    assert tags(client.heard) == "TCZi"
    assert waiter.heard == b""
    house.cancel_gate.set()
    await house.rest()
    assert house.postgres.running, "the next statement was cancelled"
    upstream.answer(upstream.postgres.finish())
    await house.rest()
    assert tags(waiter.heard) == "TCZi"


async def test_a_cancel_request_of_an_idle_client_is_ignored(house: House) -> None:
    """K6."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    client.cancel()
    await house.rest()
    assert house.cancels == []


async def test_a_cancel_request_ends_the_statement(house: House) -> None:
    client = house.client()
    client.say(query("SELECT FOREVER"))
    await house.rest()
    client.cancel()
    await house.rest()
    assert sqlstates(client.heard) == ["57014"]
    house.check_at_rest()
