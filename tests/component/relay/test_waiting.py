"""Waiting for a server, in vain or not, and draining."""

import pytest

from poolguard.core.errors import ShuttingDown
from poolguard.ledger.entries import Phase
from poolguard.pool.state import Refusal
from tests.support.relaying import House, errors, sqlstates, tags
from tests.support.speech import SYNC, TERMINATE, batch, bind, execute, parse, query


@pytest.fixture
async def full(house: House) -> House:
    """The only server is held, and nobody may wait for it."""
    house.pool.state.max_waiting = 0
    holder = house.client("leaker")
    await holder.ask(query("BEGIN;SELECT 1 WHERE password = 'hunter2'"))
    return house


async def test_first_come_first_served(house: House) -> None:
    holder = house.client()
    await holder.ask(query("BEGIN;SELECT 0"))
    waiters = [house.client() for _ in range(3)]
    for number, waiter in enumerate(waiters):
        waiter.say(query(f"INSERT {number}"))
        assert waiter.session.entry.phase is Phase.WAITING
    await holder.ask(query("COMMIT"))
    assert [tags(waiter.heard) for waiter in waiters] == ["CZi"] * 3
    assert house.postgres.committed == ["INSERT 0", "INSERT 1", "INSERT 2"]
    house.check_at_rest()


async def test_a_waiter_that_goes_leaves_the_queue_and_its_statement_is_never_run(house: House) -> None:
    """B2."""
    holder, doomed, waiter = house.client(), house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 0"))
    doomed.say(query("INSERT doomed"))
    waiter.say(query("INSERT next"))
    doomed.go()
    await holder.ask(query("COMMIT"))
    assert house.postgres.committed == ["INSERT next"]
    house.check_at_rest()


async def test_a_waiter_that_is_refused_is_told_of_the_holder_and_goes_on(full: House) -> None:
    """X22: in the transaction's own words, without a literal."""
    client = full.client()
    answer = await client.ask(query("SELECT 1"))
    assert tags(answer) == "EZi"
    (error,) = errors(answer)
    assert error["C"] == "53300"
    assert "query_wait_timeout" in error["M"]
    assert "'app'" in error["M"]
    assert "leaker" in error["D"]
    assert "10.0.0.1:4000" in error["D"]
    assert "idle in transaction" in error["D"]
    assert "password = ?" in error["D"]
    assert "hunter2" not in answer.decode()
    ((reason, (holder,)),) = full.starved
    assert reason is Refusal.QUEUE_FULL
    assert holder.application_name == "leaker"


async def test_a_batch_that_is_refused_is_skipped_to_its_sync(full: House) -> None:
    """X23: one error and one ReadyForQuery for each batch; nothing of it is run later."""
    client = full.client()
    assert tags(await client.ask(parse("INSERT a") + bind())) == "E"
    assert tags(await client.ask(execute() + query("INSERT b") + SYNC)) == "Zi"
    assert tags(await client.ask(batch("INSERT c") + batch("INSERT d"))) == "EZiEZi"
    assert not any(text.startswith("INSERT") for text in full.postgres.ran)


@pytest.mark.parametrize("first", [query("SELECT 1"), batch("SELECT 1")])
async def test_a_deferred_transaction_that_gets_no_server_has_failed(full: House, first: bytes) -> None:
    """D8."""
    client = full.client()
    assert tags(await client.ask(query("BEGIN"))) == "CZt"
    answer = await client.ask(first)
    assert tags(answer) == "EZe"
    assert sqlstates(answer) == ["53300"]
    assert sqlstates(await client.ask(query("SELECT 1"))) == ["25P02"]
    assert tags(await client.ask(query("ROLLBACK"))) == "CZi"
    assert tags(await client.ask(query("BEGIN") + query("SELECT 1") + query("COMMIT"))) == "CZtEZeCZi"


async def test_a_cancel_request_ends_a_wait_without_a_server(house: House) -> None:
    """K3."""
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("INSERT a"))
    client.cancel()
    await house.rest()
    assert sqlstates(client.heard) == ["57014"]
    assert house.cancels == []
    await holder.ask(query("COMMIT"))
    assert house.postgres.committed == []
    house.check_at_rest()


async def test_what_is_said_while_waiting_comes_after_what_was_said_before(house: House) -> None:
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    for said in (query("INSERT 1"), batch("INSERT 2")[:11], batch("INSERT 2")[11:], query("INSERT 3")):
        client.say(said)
    await holder.ask(query("COMMIT"))
    assert house.postgres.committed == ["INSERT 1", "INSERT 2", "INSERT 3"]
    house.check_at_rest()


async def test_a_goodbye_while_waiting_is_no_statement(house: House) -> None:
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("INSERT a") + TERMINATE)
    await holder.ask(query("COMMIT"))
    assert client.transport.closing
    house.check_at_rest()


async def test_draining_ends_a_session_at_the_end_of_its_transaction(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZt"
    assert sqlstates(await client.ask(query("COMMIT"))) == ["57P01"]
    assert client.transport.closing
    house.check_at_rest()


async def test_draining_ends_a_deferred_transaction_and_runs_nothing_behind_it(house: House) -> None:
    """COMMIT and the next transaction in one write: the next one is not begun on a session that has ended."""
    client = house.client()
    await client.ask(query("BEGIN"))
    client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    answer = await client.ask(query("COMMIT") + query("BEGIN;INSERT a"))
    assert tags(answer) == "CZiE"
    assert house.upstreams == []
    house.check_at_rest()


async def test_draining_ends_a_session_that_waited_in_vain(house: House) -> None:
    holder, client = house.client(), house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    client.say(query("SELECT 1"))
    client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    client.cancel()
    await house.rest()
    assert sqlstates(client.heard) == ["57014", "57P01"]
    assert client.transport.closing


async def test_an_unreachable_postgresql_is_named_in_the_refusal(house: House) -> None:
    house.unreachable = True
    house.pool.state.max_waiting = 0
    clients = [house.client() for _ in range(2)]
    for client in clients:
        client.say(query("SELECT 1"))
    await house.rest()
    assert house.pool.open_failures == 1
    again = house.client()
    (error,) = errors(await again.ask(query("SELECT 1")))
    assert error["C"] == "53300"
    assert "PostgreSQL does not answer" in error["M"]


@pytest.mark.parametrize("check", [";", "SELECT 1", "-- ping"])
async def test_a_check_query_tells_the_truth_about_postgresql(house: House, check: str) -> None:
    """F4: nothing that a health check sends is answered without PostgreSQL."""
    house.unreachable = True
    house.pool.state.max_waiting = 0
    for _ in range(2):
        house.client().say(query("SELECT 1"))
    await house.rest()
    client = house.client()
    answer = await client.ask(query(check))
    assert (tags(answer), sqlstates(answer)) == ("EZi", ["53300"])
    assert sqlstates(await client.ask(batch(check))) == ["53300"]
