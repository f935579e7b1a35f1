"""Races between a cancel or rollback and the client's own next message, on one server that others wait for.

POOLGUARD_RACES says how many there are of each kind; `make races` runs 1,000.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from poolguard.core.errors import IdleTransactionEnded
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome, Still
from tests.integration.relay.raw import SYNC, Message, Raw, connected, query, run, sqlstates, tags
from tests.support.cluster import Database
from tests.support.running import TRANSACTION, Running, both_modes, running

RACES: Final = int(os.environ.get("POOLGUARD_RACES", "40"))
SEED: Final = 20261121
ENDED: Final = IdleTransactionEnded("the transaction stood idle for too long", detail="d", hint="h")
VICTIM: Final = "victim"


class Bystander:
    """The next client of the victim's server: every one of its statements must succeed, once."""

    def __init__(self, relay: Running) -> None:
        self._relay = relay
        self.done = 0

    async def run(self) -> None:
        async with connected(self._relay.port, TRANSACTION, application_name="bystander") as client:
            while True:
                got = await client.ask(query(f"insert into bystander values ({self.done})"))
                assert tags(got) == "C ZI", got
                self.done += 1


@asynccontextmanager
async def crowded(database: Database) -> AsyncIterator[tuple[Running, Raw, Bystander]]:
    """One server, a victim and a bystander that wants it at every moment."""
    with database.connect() as admin:
        admin.execute("create table log (race int, step int); create table bystander (n int)")
    async with running(database, both_modes(1, wait_timeout=30)) as relay:
        bystander = Bystander(relay)
        task = asyncio.create_task(bystander.run())
        try:
            async with connected(relay.port, TRANSACTION, application_name=VICTIM) as victim:
                yield relay, victim, bystander
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
        await relay.at_rest(sessions=0)
    assert bystander.done > 0
    with database.connect() as admin:
        counted = admin.execute("select count(n), count(distinct n) from bystander").fetchone()
    # The one that was under way at the end may have been done, and nobody was told.
    assert counted in {(bystander.done, bystander.done), (bystander.done + 1, bystander.done + 1)}


def judged(relay: Running) -> Transaction:
    """The victim's transaction, as a sweep of the guard has it at this moment."""
    (found,) = [held for held in relay.holders() if held.application_name == VICTIM]
    return found


def still(relay: Running, facts: Transaction) -> Still:
    """What the guard says of a transaction that it has just judged."""
    return Still(relay.relay.clock.monotonic() - facts.transaction_seconds, facts.statements)


async def turns(number: int) -> None:
    """Let the loop turn so often: what differs between two races."""
    for _ in range(number):
        await asyncio.sleep(0)


# The client's next message, and how many ReadyForQuery answer it.
NEXT: Final[dict[str, tuple[Callable[[int], bytes], int]]] = {
    "a Query": (lambda race: query(f"insert into log values ({race}, 2)"), 1),
    "an extended batch": (lambda race: run(f"insert into log values ({race}, 2)") + SYNC, 1),
    "COMMIT": (lambda race: query("commit"), 1),
    "a pipeline with COMMIT": (lambda race: run(f"insert into log values ({race}, 2)") + run("commit") + SYNC, 1),
    "a statement and a COMMIT": (lambda race: query(f"insert into log values ({race}, 2)") + query("commit"), 2),
    "ROLLBACK": (lambda race: query("rollback"), 1),
}


async def leave(victim: Raw, got: list[Message]) -> list[Message]:
    """End the transaction if it is still open: COMMIT where that can work."""
    status = got[-1].body
    if status == b"I":
        return got
    return await victim.ask(query("commit" if status == b"T" else "rollback"))


@pytest.mark.timeout(300)
async def test_a_rollback_and_the_clients_next_message(database: Database) -> None:
    """G6, G7, check 3: either the transaction is gone and the message fails, or nothing happened at all; never the next client."""
    chance = random.Random(SEED)
    outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
    kept: set[tuple[int, int]] = set()
    async with crowded(database) as (relay, victim, _):
        for race in range(RACES):
            kind = chance.choice(sorted(NEXT))
            message, answers = NEXT[kind][0](race), NEXT[kind][1]
            await victim.ask(query("begin"))
            await victim.ask(query(f"insert into log values ({race}, 1)"))
            facts = judged(relay)
            assert facts.phase is Phase.IDLE_IN_TRANSACTION
            before, after = chance.choice([(0, 1), (1, 0), (1, 1), (2, 0), (0, 0), (3, 1), (1, 3)])
            expected = still(relay, facts)
            cut = chance.choice([0, 3, len(message) // 2])

            async def act() -> Outcome:
                await turns(before)  # noqa: B023 - awaited within the same race
                return await relay.relay.rollback(facts.id, ENDED, expected)  # noqa: B023

            async def say() -> list[Message]:
                victim.send(message[:cut])  # noqa: B023
                await turns(after)  # noqa: B023
                return await victim.ask(message[cut:], times=answers)  # noqa: B023

            outcome, got = await asyncio.gather(act(), say())
            outcomes[outcome] += 1
            if outcome is Outcome.DONE:
                if kind == "ROLLBACK":
                    assert (sqlstates(got), got[-1].body) == ([], b"I")
                else:
                    assert sqlstates(got)[0] == "25P03", (kind, got)
                    assert not any(m.tag == "C" and m.body.startswith(b"INSERT") for m in got), (kind, got)
                await leave(victim, got)
            else:
                assert outcome in {Outcome.VICTIM_MOVED, Outcome.REFUSED}
                assert sqlstates(got) == [], (kind, got)
                await leave(victim, got)
                if kind != "ROLLBACK":
                    kept |= {(race, 1)} | ({(race, 2)} if kind != "COMMIT" else set())
    with database.connect() as admin:
        there = admin.execute("select race, step from log").fetchall()
    assert sorted(there) == sorted(kept)
    assert outcomes[Outcome.DONE] > RACES // 10, outcomes
    assert outcomes[Outcome.DONE] < RACES, outcomes


@pytest.mark.timeout(300)
async def test_a_cancel_and_the_clients_next_statement(database: Database) -> None:
    """K2, check 3: a cancel by the guard hits the statement that was judged, or nothing: never the next one, of whomever."""
    chance = random.Random(SEED)
    hit = missed = 0
    async with crowded(database) as (relay, victim, _):
        for race in range(RACES):
            await victim.ask(query("begin"))
            # The longest is hit, the shortest over before, however slow the machine; those between race.
            lasts = chance.choice([0.0, 0.001, 0.002, 0.004, 0.5])
            victim.send(query(f"select pg_sleep({lasts})"))
            while judged_or_none(relay) is None:  # noqa: ASYNC110 - the race begins at the very turn in which it is there
                await asyncio.sleep(0)
            facts = judged(relay)
            expected = still(relay, facts)
            in_time = chance.random() * 0.004

            async def act() -> Outcome:
                await asyncio.sleep(in_time)  # noqa: B023 - what differs between two races
                return await relay.relay.cancel(facts.id, expected)  # noqa: B023

            async def say() -> list[Message]:
                got = await victim.until()
                assert sqlstates(got) in ([], ["57014"]), got
                if sqlstates(got):
                    await victim.ask(query("rollback"))
                    await victim.ask(query("begin"))
                for step in (1, 2):
                    more = await victim.ask(query(f"insert into log select {race}, {step} from pg_sleep(0.001)"))  # noqa: B023
                    assert tags(more) == "C ZT", more
                assert tags(await victim.ask(query("commit"))) == "C ZI"
                return got

            outcome, got = await asyncio.gather(act(), say())
            assert outcome in {Outcome.DONE, Outcome.VICTIM_MOVED}
            if sqlstates(got):
                hit += 1
            else:
                missed += 1
    with database.connect() as admin:
        there = admin.execute("select race, step from log").fetchall()
    assert sorted(there) == [(race, step) for race in range(RACES) for step in (1, 2)]
    assert hit, (hit, missed)
    assert missed, (hit, missed)


def judged_or_none(relay: Running) -> Transaction | None:
    """The victim's running statement, as soon as it has a server."""
    found = [held for held in relay.holders() if held.application_name == VICTIM and held.phase is Phase.ACTIVE]
    return found[0] if found else None
