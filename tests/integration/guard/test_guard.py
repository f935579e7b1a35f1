"""Guard and relay together on a real PostgreSQL: what clients see of a guard that only observes."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.guard.book import IncidentBook
from poolguard.guard.guard import Guard
from poolguard.guard.incidents import IncidentOutcome
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Settings
from poolguard.settings.policies import Budget, Exempt, Ladder, Policy, PolicyMode
from tests.integration.relay import cases, cases_prepared
from tests.integration.relay.differential import Masked, Script, replay
from tests.support.cluster import Database
from tests.support.running import MODES, Running, both_modes, running

EVERY: Final = {
    **cases.SIMPLE,
    **cases.EXTENDED,
    **cases.PREPARED,
    **cases.COPY,
    **cases.DEFERRED,
    **cases_prepared.PREPARED,
}
DAY: Final = 86400.0
RUTHLESS: Final = Policy(
    idle_in_transaction=Ladder(warn=1.0, rollback=2.0),
    transaction_age=Ladder(warn=1.0, cancel=2.0, rollback=2.0, terminate=3.0),
    statement_age=Ladder(cancel=1.0),
    checkout_age=Ladder(terminate=1.0),
    exempt=Exempt(statement_class=(), job_pop=0.0),
    budget=Budget(kills_per_minute=100_000, max_share_of_pool=1.0),
)
LEAK: Final = cases.SIMPLE["Q3 only I releases"]


@asynccontextmanager
async def guarded(
    database: Database, *, mode: PolicyMode
) -> AsyncIterator[tuple[Running, IncidentBook, Callable[[], Coroutine[None, None, None]]]]:
    """A relay, and a guard that sweeps when it is told to; what it sees is a day old, and so long overdue."""
    pools = both_modes(2)
    clock = SystemClock()
    async with running(database, pools) as relay:

        def snapshot(pool: str) -> PoolSnapshot | None:
            return relay.pool(pool).snapshot(clock.monotonic())

        book = IncidentBook(clock, snapshot)
        guard = Guard(
            clock=clock,
            transactions=relay.ledger.transactions,
            hands=relay.relay,
            snapshot=snapshot,
            book=book,
            settings=Settings(pools=pools, policies={"app": replace(RUTHLESS, mode=mode)}),
            settings_hash="",
        )

        async def sweep() -> None:
            await guard.sweep(clock.monotonic() + DAY)
            await guard.drain(clock.monotonic() + 10.0)

        yield relay, book, sweep
        await guard.stop()


async def expected(database: Database, script: Script) -> list[list[Masked]]:
    """What PostgreSQL says itself."""
    with database.connect() as admin:
        admin.execute(cases.AFRESH)
    answers = await replay(database.port, database.name, script)
    with database.connect() as admin:
        admin.execute(cases.AFRESH)
    return answers


@pytest.fixture
def tables(database: Database) -> Database:
    with database.connect() as admin:
        admin.execute(cases.SETUP)
    return database


@pytest.mark.parametrize("mode", MODES)
async def test_to_observe_changes_nothing_on_the_wire(tables: Database, mode: str) -> None:
    """Check 10: every wire case byte for byte, while all that it opens is found overdue at every step."""
    async with guarded(tables, mode=PolicyMode.OBSERVE) as (relay, book, sweep):
        for case, script in EVERY.items():
            wanted = await expected(tables, script)
            assert await replay(relay.port, mode, script, between=sweep) == wanted, case
        outcomes = [incident.outcome for incident in book.find()]
        assert set(outcomes) <= {IncidentOutcome.OBSERVED, IncidentOutcome.SPARED}
        assert outcomes.count(IncidentOutcome.OBSERVED) > len(EVERY) // 2


@pytest.mark.parametrize("mode", MODES)
async def test_to_enforce_changes_what_the_client_hears(tables: Database, mode: str) -> None:
    """The other half of the same comparison: it does find a difference where there is one."""
    async with guarded(tables, mode=PolicyMode.ENFORCE) as (relay, book, sweep):
        wanted = await expected(tables, LEAK)
        assert await replay(relay.port, mode, LEAK, between=sweep) != wanted
        assert IncidentOutcome.DONE in [incident.outcome for incident in book.find()]
