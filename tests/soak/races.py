"""Renewals against takeovers in the moment of expiry, on the real store: never do both succeed, never do two."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final
from uuid import uuid4

import psycopg

from poolguard.aio.clock import SystemClock
from poolguard.core.errors import LeaseUnavailable
from poolguard.lease.store import Granted, HeldBy, LeaseStore, Over, Renewed, Spent
from poolguard.lease.terms import TermKey, Wanted
from poolguard.settings.model import Leases
from tests.soak.stage import postgres
from tests.soak.verdict import Figure, Part

TRIES: Final = 100_000
CONTENDERS: Final = 3
WITHIN_SECONDS: Final = 0.004
"""How long after the start of a round its term ends: about what the requests take."""
_DEADLINE_SECONDS: Final = 10.0
_TTL: Final = 30.0

Outcome = Renewed | Over | Granted | HeldBy | Spent | LeaseUnavailable


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """Race until TRIES are done, or *seconds* are over."""
    part = Part("races")
    with postgres() as running:
        outcomes, broken = asyncio.run(
            race(running.url, TRIES, random.Random(seed), seconds=seconds, say=say),
        )
    part.broken += broken
    part.figures += [
        Figure("tries", outcomes.total(), least=1),
        *(Figure(f"  {name}", number) for name, number in sorted(outcomes.items())),
        Figure("rounds that were close (renewed)", outcomes["Renewed"], least=1),
        Figure("rounds that were close (taken over)", outcomes["Granted"], least=1),
    ]
    return part


async def race(
    url: str,
    tries: int,
    chance: random.Random,
    *,
    seconds: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Counter[str], list[str]]:
    """How each try came out, and what broke a rule."""
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        stores = [LeaseStore(url, Leases(connections=2), clock) for _ in range(2)]
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
            await store.prepare()
        admin = await stack.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
        began = clock.monotonic()
        term, told = await _fresh(stores[0], clock), 0
        while outcomes.total() < tries and clock.monotonic() - began < seconds:
            await admin.execute(
                "UPDATE poolguard.lease SET expires_at = clock_timestamp() + make_interval(secs => %s)",
                [chance.uniform(0.0, WITHIN_SECONDS)],
            )
            renewal, *takeovers = await asyncio.gather(
                _tried(stores[0].renew(term, deadline=clock.monotonic() + _DEADLINE_SECONDS)),
                *(_tried(_acquire(stores[number % 2], clock, f"rival-{number}")) for number in range(CONTENDERS)),
            )
            every: list[Outcome] = [renewal, *takeovers]
            outcomes.update(type(each).__name__ for each in every)
            winners = [each for each in every if isinstance(each, Granted | Renewed)]
            if len(winners) > 1:
                broken.append(f"I1: {[type(each).__name__ for each in winners]} in one moment")
            term = await _next(stores[0], admin, clock, term, [each for each in takeovers if isinstance(each, Granted)])
            if outcomes.total() - told >= tries // 10:
                told = outcomes.total()
                say(f"{told} tries, {clock.monotonic() - began:.0f} s")
    return outcomes, broken


async def _tried(asked: Awaitable[Outcome]) -> Outcome:
    try:
        return await asked
    except LeaseUnavailable as error:
        return error


async def _next(
    store: LeaseStore,
    admin: psycopg.AsyncConnection[tuple[object, ...]],
    clock: SystemClock,
    term: TermKey,
    taken: list[Granted],
) -> TermKey:
    """The term of the next round: this one if it runs, else a new one, whose token must be above all before."""
    row = await store.read(term.name, deadline=clock.monotonic() + _DEADLINE_SECONDS)
    assert row is not None, "the row has gone"
    assert row.token >= max([term.token, *(each.row.token for each in taken)]), "a token went back"
    if row.holder == term.holder and row.token == term.token and row.running:
        return term
    await admin.execute("UPDATE poolguard.lease SET expires_at = 'epoch'")
    fresh = await _fresh(store, clock)
    assert fresh.token > row.token, "a token went back"
    return fresh


async def _fresh(store: LeaseStore, clock: SystemClock) -> TermKey:
    answer = await _acquire(store, clock, "holder")
    assert isinstance(answer, Granted), answer
    return TermKey("a", "holder", answer.row.token)


async def _acquire(store: LeaseStore, clock: SystemClock, holder: str) -> Granted | HeldBy | Spent:
    wish = Wanted(name="a", holder=holder, ttl_seconds=_TTL, request_id=str(uuid4()))
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    return await store.acquire(wish, floor=0, earlier_token=None, deadline=deadline)
