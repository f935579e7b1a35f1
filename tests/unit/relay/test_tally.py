"""How transactions are counted by their end; what stands alone and succeeds is told by the number of checkouts."""

from collections.abc import AsyncIterator

import pytest

from poolguard.core.errors import EndedByOperator
from poolguard.ledger.hands import Outcome
from poolguard.relay import hands
from poolguard.relay.tally import TransactionEnd as End
from poolguard.settings.model import PoolMode, Retry
from tests.support.relaying import House
from tests.support.speech import SYNC, batch, query

KILL = EndedByOperator("ended")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.close()


def told(house: House) -> dict[str, int]:
    """What metrics say."""
    tally, pool = house.counters.tally, house.pool
    counted = {end.value: tally.ended[pool.name, end] for end in End if end is not End.COMMIT}
    counted["commit"] = tally.committed(pool.name, pool.checkout_seconds.count)
    return {end: number for end, number in counted.items() if number}


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (["SELECT 1"], {"commit": 1}),
        (["FAIL"], {"error": 1}),
        (["BEGIN", "SELECT 1", "COMMIT"], {"commit": 1}),
        (["BEGIN", "SELECT 1", "ROLLBACK"], {"rollback": 1}),
        (["BEGIN", "FAIL", "ROLLBACK"], {"error": 1}),
        (["BEGIN", "FAIL", "COMMIT"], {"error": 1}),
        (["BEGIN", "SAVEPOINT a", "FAIL", "ROLLBACK TO a", "COMMIT"], {"commit": 1}),
        (["BEGIN", "SAVEPOINT a", "FAIL", "ROLLBACK TO a", "ROLLBACK"], {"rollback": 1}),
        (["BEGIN", "COMMIT"], {}),
        (["BEGIN", "ROLLBACK"], {}),
        (["FAIL", "SELECT 1", "BEGIN", "SELECT 1", "COMMIT", "SELECT 1"], {"error": 1, "commit": 3}),
    ],
    ids=lambda value: "; ".join(value) if isinstance(value, list) else "",
)
async def test_each_transaction_counts_once_by_how_it_ended(
    house: House, said: list[str], counted: dict[str, int]
) -> None:
    client = house.client()
    for sql in said:
        await client.ask(query(sql))
    assert told(house) == counted
    house.check_at_rest()


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (["SELECT 1"], {"commit": 1}),
        (["FAIL"], {"error": 1}),
        (["BEGIN", "SELECT 1", "COMMIT"], {"commit": 1}),
        (["BEGIN", "SELECT 1", "ROLLBACK"], {"rollback": 1}),
        (["BEGIN", "FAIL", "ROLLBACK"], {"error": 1}),
    ],
    ids=lambda value: "; ".join(value) if isinstance(value, list) else "",
)
async def test_so_they_do_in_the_extended_protocol(house: House, said: list[str], counted: dict[str, int]) -> None:
    client = house.client()
    for sql in said:
        await client.ask(batch(sql) + SYNC)
    assert told(house) == counted


async def test_a_session_that_keeps_its_server_is_counted_at_each_end() -> None:
    house = House(mode=PoolMode.SESSION)
    client = house.client()
    for sql in ("SELECT 1", "FAIL", "BEGIN", "SELECT 1", "ROLLBACK", "BEGIN", "SELECT 1", "COMMIT"):
        await client.ask(query(sql))
    assert told(house) == {"commit": 2, "error": 1, "rollback": 1}
    client.go()
    await house.rest()
    assert told(house) == {"commit": 2, "error": 1, "rollback": 1}
    await house.close()


async def test_a_pin_counts_what_comes_while_it_lasts(house: House) -> None:
    client = house.client()
    for sql in ("BEGIN", "LISTEN jobs", "COMMIT", "SELECT 1"):
        await client.ask(query(sql))
    assert told(house) == {"commit": 2}


async def test_who_goes_in_the_middle_has_abandoned_it(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("INSERT 1"))
    client.go()
    await house.rest()
    assert told(house) == {"abandoned": 1}


async def test_a_server_that_is_lost_has_undone_it(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    house.upstreams[0].lose()
    await house.rest()
    assert told(house) == {"error": 1}


@pytest.mark.parametrize("pinned", [False, True])
async def test_what_the_guard_rolls_back_is_killed_and_nothing_else(house: House, pinned: bool) -> None:
    client = house.client()
    if pinned:
        await client.ask(query("LISTEN jobs"))
        before = told(house)
    else:
        before = {}
    await client.ask(query("BEGIN"))
    await client.ask(query("INSERT 1"))
    assert await hands.roll_back(client.session, client.session.entry.checkout, KILL) is Outcome.DONE
    await house.rest()
    await client.ask(query("ROLLBACK"))
    assert told(house) == before | {"killed": 1}
    await client.ask(query("SELECT 1"))
    assert told(house) == before | {"killed": 1, "commit": before.get("commit", 0) + 1}


async def test_what_the_guard_terminates_is_killed(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query("INSERT 1"))
    assert await hands.terminate(client.session, client.session.entry.checkout, KILL) is Outcome.DONE
    assert told(house) == {"killed": 1}


async def test_the_number_of_commits_never_falls(house: House) -> None:
    """A counter that falls was restarted, Prometheus believes, and counts all of it again."""
    client, seen = house.client(), [0]
    for sql in ("SELECT 1", "BEGIN", "SELECT 1", "FAIL", "ROLLBACK", "FAIL", "SELECT 1"):
        await client.ask(query(sql))
        seen.append(told(house).get("commit", 0))
    assert seen == sorted(seen)
    assert seen[-1] == 2


async def test_only_what_was_begun_has_a_length(house: House) -> None:
    client = house.client()
    for sql in ("SELECT 1", "FAIL", "BEGIN", "SELECT 1", "COMMIT"):
        await client.ask(query(sql))
    assert house.counters.tally.seconds["app"].count == 1


async def test_a_statement_that_is_healed_by_a_second_try_is_committed() -> None:
    house = House(retry=Retry())
    client = house.client()
    for _ in range(2):
        await client.ask(query("SELECT 1"))
    assert told(house) == {"commit": 2}
    await house.close()
