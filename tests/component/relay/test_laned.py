"""Lanes: a transaction that begins with the lane's statement waits its turn and holds nothing; no place is ever lost."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from poolguard.core.errors import IdleTransactionEnded, ShuttingDown
from poolguard.ledger.entries import Phase
from poolguard.pool.lanes import Lane
from poolguard.relay import hands
from poolguard.relay.session import Session
from poolguard.settings.lanes import Lane as LaneSettings
from poolguard.settings.lanes import LaneMatch
from poolguard.settings.policies import PolicyMode
from tests.support.relaying import Client, House, bytewise, errors, sqlstates, tags
from tests.support.speech import SYNC, TERMINATE, batch, bind, describe, execute, named, parse, query

HOT = "INSERT hot"
"""What the lane is for: any INSERT."""
FOREVER = "SELECT FOREVER"


def lane(name: str = "hot", statement: str = "^insert ", **more: Any) -> LaneSettings:
    return LaneSettings(name=name, match=LaneMatch(statement=statement), **{"at_once": 1, **more})


async def with_lanes(*lanes: LaneSettings, size: int = 3) -> House:
    return House(size=size, lanes=lanes)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Three servers, and a lane for one INSERT at a time."""
    one = House(size=3, lanes=(lane(), lane("slow", "forever")))
    yield one
    one.check()
    await one.close()


def the(house: House, name: str = "hot") -> Lane:
    return house.pool.lanes._lanes[name]


def books(house: House, name: str = "hot") -> tuple[int, int]:
    """How many are inside, and how many wait."""
    one = the(house, name)
    one.state.check()
    return len(one.state.inside), one.state.waiting


def empty(house: House) -> None:
    house.check_at_rest()
    for name in house.pool.lanes._lanes:
        assert books(house, name) == (0, 0)
    assert {entry.lane for entry in house.ledger.sessions.values()} <= {""}


async def inside(house: House, statement: str = HOT) -> Client:
    """A client in the middle of a transaction that began with *statement*."""
    client = house.client("holder")
    await client.ask(query("BEGIN") + query(statement))
    assert client.session.entry.phase is Phase.IDLE_IN_TRANSACTION
    return client


WAYS_IN = {
    "simple": query(HOT),
    "extended": batch(HOT),
    "extended, undescribed": batch(HOT, described=False),
    "behind a deferred BEGIN": query("BEGIN") + query(HOT) + query("COMMIT"),
    "extended behind a deferred BEGIN": query("BEGIN") + batch(HOT) + query("COMMIT"),
    "BEGIN by the extended protocol": batch("BEGIN") + batch(HOT) + batch("COMMIT"),
    "prepared and run at once": parse(HOT, "s") + bind("s") + describe() + execute() + SYNC,
    "prepared behind a deferred BEGIN": query("BEGIN") + parse(HOT, "s") + SYNC + named("s") + query("COMMIT"),
    "two statements of one batch": parse("SELECT 1") + bind() + execute() + parse(HOT) + bind() + execute() + SYNC,
    "behind another, unanswered": query("SELECT 1") + query(HOT),
    "a batch behind another": batch("SELECT 1") + batch(HOT),
}


ONLY_WHOLE = {"BEGIN by the extended protocol", "two statements of one batch"}
"""In pieces the one is not deferred, so that the server is held when the statement comes; of the other the first
statement is sent, and so the transaction begun, before the second is known."""


@pytest.mark.parametrize(
    ("way", "cut"),
    [(way, "whole") for way in WAYS_IN] + [(way, "bytewise") for way in WAYS_IN if way not in ONLY_WHOLE],
)
async def test_whichever_way_it_is_said_it_waits_for_its_turn(house: House, way: str, cut: str) -> None:
    if cut == "bytewise":
        house.cut_client = bytewise
    holder = await inside(house)
    client = house.client()
    await client.ask(WAYS_IN[way])
    assert client.session.entry.phase is Phase.WAITING_IN_LANE
    assert client.session.server is None
    assert books(house) == (1, 1)
    ran = [sql for up in house.upstreams for sql in up.postgres.ran]
    assert ran.count(HOT) == 1
    await holder.ask(query("ROLLBACK"))
    await house.rest()
    assert sqlstates(client.heard) == []
    assert [sql for up in house.upstreams for sql in up.postgres.committed] == [HOT]
    empty(house)


async def test_a_named_statement_is_known_by_its_text(house: House) -> None:
    client = house.client()
    holder = await inside(house)
    assert tags(await client.ask(parse(HOT, "s") + describe("S", "s") + SYNC)) == "1tnZi", "preparing takes no lock"
    client.say(named("s"))
    assert books(house) == (1, 1)
    await holder.ask(query("COMMIT"))
    assert tags(client.heard) == "1tnZi2CZi"
    empty(house)


async def test_first_come_first_served(house: House) -> None:
    holder = await inside(house)
    waiters = [house.client() for _ in range(5)]
    for number, waiter in enumerate(waiters):
        waiter.say(query(f"INSERT {number}"))
    await holder.ask(query("ROLLBACK"))
    committed = [sql for up in house.upstreams for sql in up.postgres.committed]
    assert committed == [f"INSERT {number}" for number in range(5)]
    assert the(house).entered == 6
    empty(house)


async def test_who_waits_holds_no_server(house: House) -> None:
    """So the pool serves others meanwhile."""
    holder = await inside(house)
    for _ in range(10):
        house.client().say(query(HOT))
    other = house.client()
    assert tags(await other.ask(query("SELECT 1"))) == "TDCZi"
    assert len(house.pool.state.held) == 1
    await holder.ask(query("COMMIT"))
    empty(house)


async def test_inside_of_a_transaction_nothing_waits(house: House) -> None:
    """supervision 5.7: a lane is the outermost lock, or none."""
    holder = await inside(house)
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    assert tags(await client.ask(query(HOT))) == "CZt"
    assert tags(await client.ask(batch(HOT))) == "12nCZt"
    pipelined = await client.ask(query("SELECT 2") + query(HOT))
    assert tags(pipelined) == "TDDCZtCZt"
    for one in (client, holder):
        await one.ask(query("ROLLBACK"))
    empty(house)


async def test_it_is_left_at_the_transactions_end_and_not_before(house: House) -> None:
    holder = await inside(house)
    waiter = house.client()
    waiter.say(query(HOT))
    await holder.ask(query("SELECT 1"))
    await holder.ask(batch("SELECT 2"))
    await holder.ask(query("FAIL 22012"))
    assert books(house) == (1, 1)
    await holder.ask(query("COMMIT"))
    assert sqlstates(waiter.heard) == []
    empty(house)


async def test_between_two_lanes_what_is_pipelined_goes_from_one_to_the_other(house: House) -> None:
    """It is never in both."""
    slow = house.client()
    slow.say(query(FOREVER))
    await house.rest()
    client = house.client()
    client.say(query(HOT) + query(FOREVER) + query(HOT))
    await house.rest()
    assert (books(house), books(house, "slow")) == ((0, 0), (1, 1))
    await slow.cancel()
    await house.rest()
    assert (books(house), books(house, "slow")) == ((0, 0), (1, 0))
    await client.cancel()
    await house.rest()
    assert tags(client.heard) == "CZiTEZiCZi"
    empty(house)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (bind("unknown") + execute() + query("SELECT 1") + query(HOT) + SYNC, "EZi"),
        (query("COPY t FROM STDIN") + query(HOT), "GEE"),
    ],
    ids=["for a Sync", "for data: as without lanes, PostgreSQL ends the connection"],
)
async def test_nothing_is_held_back_for_an_answer_that_waits_for_the_client(
    house: House, said: bytes, told: str
) -> None:
    """X4, C6: PostgreSQL skips to a Sync, or wants data, and the client has said what comes next already."""
    client = house.client()
    client.say(said)
    await house.rest()
    assert tags(client.heard) == told
    empty(house)


async def test_a_pinned_session_passes_by(house: House) -> None:
    """It has a server, and perhaps a session lock."""
    client = house.client()
    await client.ask(query("SET work_mem = 1"))
    holder = await inside(house)
    assert tags(await client.ask(query(HOT))) == "CZi"
    assert tags(await client.ask(query("SELECT 1") + query(HOT))) == "TDCZiCZi"
    await holder.ask(query("COMMIT"))
    client.go()
    await house.rest()
    empty(house)


async def test_what_pins_on_its_way_leaves_the_lane_at_the_transactions_end(house: House) -> None:
    client = house.client()
    await client.ask(query("BEGIN") + query(HOT) + query("SET work_mem = 1"))
    assert books(house) == (1, 0)
    await client.ask(query("COMMIT"))
    assert client.session.server is not None
    assert books(house) == (0, 0)
    client.go()
    await house.rest()
    empty(house)


# In vain.


async def test_a_wait_that_is_too_long_is_an_error_that_names_who_is_inside(house: House) -> None:
    holder = await inside(house, "INSERT INTO a VALUES ('hunter2')")
    client = house.client()
    client.say(query(HOT))
    house.pool.lanes._lanes["hot"].settings = lane(wait=0.0)
    the(house).expire()
    (error,) = errors(client.heard)
    assert (tags(client.heard), error["C"]) == ("EZi", "53300")
    assert "query_wait_timeout: lane 'hot' of pool 'app' had no place within" in error["M"]
    assert "1 at once, 1 inside, 0 waiting" in error["M"]
    assert "holder at 10.0.0.1:4000" in error["D"]
    assert "insert into a values (...)" in error["D"]
    assert "safe to repeat" in error["H"]
    assert "hunter2" not in client.heard.decode()
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi", "the session goes on"
    assert the(house).rejections == {"timeout": 1}
    await holder.ask(query("COMMIT"))
    empty(house)


async def test_a_full_queue_is_the_same_error_at_once() -> None:
    house = await with_lanes(lane(max_waiting=0))
    holder = await inside(house)
    client = house.client()
    answer = await client.ask(query(HOT))
    assert (tags(answer), sqlstates(answer)) == ("EZi", ["53300"])
    assert "has its queue full" in errors(answer)[0]["M"]
    assert the(house).rejections == {"queue_full": 1}
    await holder.ask(query("COMMIT"))
    assert tags(await client.ask(query(HOT))) == "CZi"
    empty(house)
    await house.close()


async def test_behind_a_deferred_begin_the_transaction_has_failed() -> None:
    """Laravel's pop: refused before it starts, so that no job was taken."""
    house = await with_lanes(lane(max_waiting=0))
    holder = await inside(house)
    client = house.client()
    assert tags(await client.ask(query("BEGIN") + query(HOT))) == "CZtEZe"
    assert tags(await client.ask(query("ROLLBACK"))) == "CZi"
    await holder.ask(query("COMMIT"))
    empty(house)
    await house.close()


async def test_thousands_that_are_refused_at_once_do_not_grow_the_stack() -> None:
    """Each that is let in finds no server in vain, and lets the next in."""
    house = await with_lanes(lane(max_waiting=1000), size=1)
    house.pool.state.max_waiting = 0
    holder = await inside(house)
    waiters = [house.client() for _ in range(1000)]
    for waiter in waiters:
        waiter.say(query(HOT))
    other = house.client()
    other.say(query("SELECT 1"))  # refused: nobody may wait for the only server
    ticket = holder.session.ticket  # type: ignore[attr-defined]
    ticket.leave()  # while the server stays held, so that each finds none
    await house.rest()
    assert {tuple(sqlstates(waiter.heard)) for waiter in waiters} == {("53300",)}
    assert books(house) == (0, 0)
    await holder.ask(query("COMMIT"))
    empty(house)
    await house.close()


# Whoever dies.


async def test_a_waiter_that_vanishes_leaves_the_queue(house: House) -> None:
    holder = await inside(house)
    doomed, waiter = house.client(), house.client()
    doomed.say(query("INSERT doomed"))
    waiter.say(query(HOT))
    doomed.go()
    assert books(house) == (1, 1)
    await holder.ask(query("ROLLBACK"))
    assert [sql for up in house.upstreams for sql in up.postgres.committed] == [HOT]
    empty(house)


async def test_a_waiter_that_cancels_is_told_so(house: House) -> None:
    holder = await inside(house)
    client = house.client()
    client.say(query(HOT))
    await client.cancel()
    assert (tags(client.heard), sqlstates(client.heard)) == ("EZi", ["57014"])
    assert books(house) == (1, 0)
    await holder.ask(query("COMMIT"))
    empty(house)


async def test_who_was_let_in_and_waits_for_a_server_can_vanish_and_cancel() -> None:
    house = await with_lanes(lane(at_once=2), size=1)
    holder = house.client()
    await holder.ask(query("BEGIN;SELECT 1"))
    first, second = house.client(), house.client()
    for client in (first, second):
        client.say(query(HOT))
        assert client.session.entry.phase is Phase.WAITING
    assert books(house) == (2, 0)
    first.go()
    await second.cancel()
    assert sqlstates(second.heard) == ["57014"]
    assert books(house) == (0, 0)
    await holder.ask(query("COMMIT"))
    empty(house)
    await house.close()


async def test_a_holder_that_vanishes_leaves_when_its_statement_has_ended_in_postgresql(house: House) -> None:
    holder = house.client()
    holder.say(query(FOREVER))
    await house.rest()
    waiter = house.client()
    waiter.say(query(FOREVER))
    house.upstreams[0].silent = True
    holder.go()
    await house.rest()
    assert books(house, "slow") == (1, 1), "it may still run"
    house.upstreams[0].silent = False
    house.upstreams[0].speak()
    await house.rest()
    assert books(house, "slow") == (1, 0)
    waiter.go()
    await house.rest()
    empty(house)


async def test_a_holder_that_says_goodbye_lets_its_statement_finish_inside(house: House) -> None:
    holder = house.client()
    holder.say(query(FOREVER) + TERMINATE)
    await house.rest()
    waiter = house.client()
    waiter.say(query(FOREVER))
    assert books(house, "slow") == (1, 1)
    house.upstreams[0].answer(house.upstreams[0].postgres.finish())
    await house.rest()
    assert books(house, "slow") == (1, 0)
    waiter.go()
    await house.rest()
    empty(house)


@pytest.mark.parametrize("phase", ["active", "idle in transaction"])
async def test_a_server_that_dies_leaves_the_lane(house: House, phase: str) -> None:
    holder = house.client()
    await holder.ask(query("BEGIN") + query(HOT))
    if phase == "active":
        holder.say(query(FOREVER))
        await house.rest()
    waiter = house.client()
    waiter.say(query(HOT))
    house.upstreams[0].lose()
    await house.rest()
    assert sqlstates(holder.heard) == ["08006"]
    assert tags(waiter.heard) == "CZi"
    empty(house)


async def test_a_transaction_that_the_guard_rolls_back_leaves_when_the_server_is_clean(house: House) -> None:
    holder = await inside(house)
    waiter = house.client()
    waiter.say(query(HOT))
    error = IdleTransactionEnded("too long")
    rolling = house.tasks.spawn(_done(hands.roll_back(holder.session, 1, error)), name="the guard")
    assert books(house) == (1, 1)
    await rolling
    await house.rest()
    assert tags(waiter.heard) == "CZi"
    assert sqlstates(await holder.ask(query("SELECT 1"))) == ["25P03"]
    assert tags(await holder.ask(query("ROLLBACK"))) == "CZi"
    assert tags(await holder.ask(query(HOT))) == "CZi"
    empty(house)


async def _done(action: Any) -> None:
    await action


async def test_a_transaction_that_is_terminated_leaves_when_its_statement_has_ended(house: House) -> None:
    holder = house.client()
    holder.say(query(FOREVER))
    await house.rest()
    waiter = house.client()
    waiter.say(query(FOREVER))
    house.upstreams[0].silent = True
    house.tasks.spawn(
        _done(hands.terminate(holder.session, 1, IdleTransactionEnded("too long"), grace=60.0)), name="the guard"
    )
    await house.rest()
    assert books(house, "slow") == (1, 1)
    house.upstreams[0].silent = False
    house.upstreams[0].speak()
    await house.rest()
    assert books(house, "slow") == (1, 0)
    waiter.go()
    await house.rest()
    empty(house)


async def test_a_drain_lets_those_finish_who_wait(house: House) -> None:
    holder = await inside(house)
    waiter = house.client()
    waiter.say(query(HOT))
    for client in (holder, waiter):
        client.session.drain(ShuttingDown("poolguard is stopping; connect again"))
    assert not waiter.heard
    await holder.ask(query("COMMIT"))
    await house.rest()
    assert tags(waiter.heard) == "CZiE"
    assert sqlstates(holder.heard) == ["57P01"]
    empty(house)


async def test_a_stop_ends_who_waits(house: House) -> None:
    holder = await inside(house)
    waiter = house.client()
    waiter.say(query(HOT))
    waiter.session.fatal(ShuttingDown("terminating connection: poolguard is stopping"))
    holder.session.fatal(ShuttingDown("terminating connection: poolguard is stopping"))
    await house.rest()
    assert sqlstates(waiter.heard) == ["57P01"]
    empty(house)


# Reloads, and lanes that only look.


def reload(house: House, *lanes: LaneSettings) -> None:
    house.pool.resize(replace(house.pool.settings, lanes=lanes))


async def test_a_reload_that_makes_room_lets_them_in(house: House) -> None:
    holder = await inside(house)
    waiters = [house.client() for _ in range(3)]
    for waiter in waiters:
        waiter.say(query("BEGIN") + query(HOT))
    reload(house, lane(at_once=3))
    await house.rest()
    assert books(house) == (3, 1)
    reload(house, lane(at_once=1))
    for client in (holder, *waiters):
        await client.ask(query("COMMIT"))
    empty(house)


@pytest.mark.parametrize("lanes", [(), (lane("other", "x"),), (lane(mode=PolicyMode.OBSERVE),)])
async def test_a_lane_that_is_gone_keeps_nobody(house: House, lanes: tuple[LaneSettings, ...]) -> None:
    holder = await inside(house)
    waiter = house.client()
    waiter.say(query(HOT))
    reload(house, *lanes)
    await house.rest()
    assert tags(waiter.heard) == "CZi"
    assert tags(await house.client().ask(query(HOT))) == "CZi"
    await holder.ask(query("COMMIT"))
    await house.rest()
    empty(house)


async def test_observe_counts_who_would_have_waited_and_changes_nothing() -> None:
    house = await with_lanes(lane(mode=PolicyMode.OBSERVE, max_waiting=1))
    clients = [await inside(house) for _ in range(3)]
    assert books(house) == (1, 1)
    snapshot = the(house).snapshot(house.pool._clock.monotonic())
    assert (snapshot.mode, snapshot.rejections_total) == ("observe", {"queue_full": 1, "timeout": 0})
    for client in clients:
        assert tags(await client.ask(query("COMMIT"))) == "CZi"
    assert (the(house).entered, the(house).wait_seconds.cumulative()[-1][1]) == (2, 1)
    empty(house)
    await house.close()


async def test_a_pool_without_lanes_pays_nothing() -> None:
    house = House()
    client = house.client()
    await client.ask(query("SELECT 1"))
    assert type(client.session) is Session
    assert client.session.gate is None
    await house.close()


async def test_a_lane_that_a_reload_brings_counts_for_sessions_that_look(house: House) -> None:
    """Those that began while the pool had lanes or retries, or under statement routes; from their next rest on."""
    client = house.client()
    reload(house)
    await client.ask(query(HOT))
    assert client.session.gate is None
    reload(house, lane())
    await client.ask(query(HOT))
    holder = await inside(house)
    client.say(query(HOT))
    assert client.session.entry.phase is Phase.WAITING_IN_LANE
    await holder.ask(query("COMMIT"))
    empty(house)


async def test_it_shows_in_the_ledger(house: House) -> None:
    holder = await inside(house)
    client = house.client()
    client.say(query(HOT))
    now = house.pool._clock.monotonic()
    facts = {one.id: (one.lane, one.phase) for one in house.ledger.facts(now)}
    assert facts == {1: ("hot", Phase.IDLE_IN_TRANSACTION), 2: ("hot", Phase.WAITING_IN_LANE)}
    assert [held.lane for held in house.ledger.transactions(now)] == ["hot"]
    await holder.ask(query("COMMIT"))
    empty(house)
