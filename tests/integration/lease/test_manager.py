"""The whole lease part on a real PostgreSQL and both event loops."""

import asyncio

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.core.errors import LeaseHeld, LeaseUnavailable
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.lease.manager import LeaseManager
from poolguard.lease.store import LeaseStore
from poolguard.lease.terms import TermKey
from poolguard.settings.model import Leases
from tests.integration.lease.conftest import wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async


def make(conninfo: str, **settings: object) -> LeaseManager:
    leases = Leases(**settings)  # type: ignore[arg-type]
    clock = SystemClock()
    return LeaseManager(LeaseStore(conninfo, leases, clock), leases, clock)


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_holder_keeps_its_term_while_its_connections_are_killed(
    database: Database, connections: int, loop_kind: str
) -> None:
    manager = make(database.dsn, connections=connections)
    await manager.start()
    acquired = await manager.acquire(wish())
    term = TermKey("a", "pod-1", acquired.standing.row.token)
    async with await database.connect_async() as admin:
        for _ in range(20):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'poolguard-lease' AND datname = current_database()"
            )
            assert (await manager.renew(term)).valid_for_seconds > 25
            assert manager.leader("a") is not None
    await manager.release(term)
    assert manager.leader("a") is None
    await manager.stop()


async def test_contenders_in_two_poolguards_never_both_lead(database: Database, loop_kind: str) -> None:
    managers = [make(database.dsn), make(database.dsn)]
    for manager in managers:
        await manager.start()
    led = [0, 0]

    async def contend(number: int) -> None:
        manager = managers[number]
        for attempt in range(40):
            try:
                acquired = await manager.acquire(wish(holder=f"pod-{number}", request_id=f"{number}-{attempt}"))
            except LeaseHeld:
                continue
            assert [one.leader("a") is not None for one in managers] == [number == 0, number == 1]
            led[number] += 1
            await manager.release(TermKey("a", f"pod-{number}", acquired.standing.row.token))

    await asyncio.gather(contend(0), contend(1))
    assert min(led) > 0
    for manager in managers:
        await manager.stop()


async def test_a_flood_of_acquires_does_not_keep_a_renewal_waiting(database: Database) -> None:
    manager = make(database.dsn)
    await manager.start()
    acquired = await manager.acquire(wish())
    term = TermKey("a", "pod-1", acquired.standing.row.token)
    order: list[str] = []

    async def flood(number: int) -> None:
        try:
            await manager.acquire(wish(name=f"n{number}"))
        finally:
            order.append("acquire")

    async def renew() -> None:
        await manager.renew(term)
        order.append("renew")

    flooding = [asyncio.ensure_future(flood(number)) for number in range(100)]
    await asyncio.sleep(0)
    await asyncio.gather(renew(), *flooding)
    assert order.index("renew") < 5
    await manager.stop()


async def test_starting_without_postgresql_takes_seconds_and_it_is_found_later(
    pg_control: EmbeddedPostgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolguard.lease.manager._START_SECONDS", 0.2)
    await asyncio.to_thread(pg_control.stop)
    manager = make(database.dsn)
    await manager.start()
    with pytest.raises(LeaseUnavailable):
        await manager.acquire(wish())
    await asyncio.to_thread(pg_control.start)
    await eventually_async(lambda: manager.ready, within=20.0)
    await manager.acquire(wish())
    await manager.stop()
