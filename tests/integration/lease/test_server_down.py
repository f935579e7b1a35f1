"""Leases while PostgreSQL restarts, turns into a standby, and is promoted."""

import asyncio

import pytest

from poolguard.core.errors import LeaseUnavailable, LeaseUnknown
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.lease.store import Granted, HeldBy, LeaseStore, Renewed, Spent
from poolguard.lease.terms import TermKey
from tests.integration.lease.conftest import MakeStore, soon, wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async


async def granted(store: LeaseStore, name: str = "a") -> TermKey:
    answer = await store.acquire(wish(name=name), floor=0, earlier_token=None, deadline=soon())
    assert isinstance(answer, Granted)
    return TermKey(name, "pod-1", answer.row.token)


async def renewed(store: LeaseStore, term: TermKey) -> bool:
    try:
        return isinstance(await store.renew(term, deadline=soon()), Renewed)
    except LeaseUnavailable:
        return False


async def test_a_restart_of_postgresql_is_survived_within_one_request(
    store: LeaseStore, pg_control: EmbeddedPostgres
) -> None:
    term = await granted(store)
    await asyncio.to_thread(pg_control.restart)
    assert isinstance(await store.renew(term, deadline=soon()), Renewed)


async def test_while_postgresql_is_down_requests_fail_soon_and_afterwards_they_succeed(
    store: LeaseStore, pg_control: EmbeddedPostgres
) -> None:
    term = await granted(store)
    await asyncio.to_thread(pg_control.stop)
    with pytest.raises((LeaseUnavailable, LeaseUnknown)):
        await store.renew(term, deadline=soon(0.5))
    async with asyncio.timeout(1.0):
        with pytest.raises(LeaseUnavailable):
            await store.renew(term, deadline=soon(30.0))
    await asyncio.to_thread(pg_control.start)
    await eventually_async(lambda: renewed(store, term), within=10.0)


async def test_store_that_opens_before_postgresql_is_there_finds_it_later(
    make_store: MakeStore, pg_control: EmbeddedPostgres, database: Database
) -> None:
    await asyncio.to_thread(pg_control.stop)
    early = await make_store()
    with pytest.raises(LeaseUnavailable) as away:
        await early.prepare()
    assert "refused" in (away.value.detail or ""), "it says why"
    await asyncio.to_thread(pg_control.start)

    async def prepared() -> bool:
        try:
            await early.prepare()
        except LeaseUnavailable:
            return False
        return True

    await eventually_async(prepared, within=15.0)
    await granted(early)


async def test_writer_that_turns_read_only_is_left_and_found_again(
    store: LeaseStore, pg_control: EmbeddedPostgres
) -> None:
    """As in a switchover that leaves the sockets open (25006)."""
    term = await granted(store)
    with pg_control.connect() as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            admin.execute("SELECT pg_reload_conf()")

            async def refused() -> str:
                try:
                    await store.renew(term, deadline=soon(0.5))
                except LeaseUnavailable as error:
                    return error.detail
                return ""

            await eventually_async(refused)
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    await eventually_async(lambda: renewed(store, term), within=10.0)


async def test_failover_gives_every_running_term_its_time_again(
    make_store: MakeStore, store: LeaseStore, pg_control: EmbeddedPostgres, database: Database
) -> None:
    """A standby is promoted; the renewals that it lacks are played by ends that lie in the past."""
    mine = await granted(store, "renewed-first")
    waited_for = await granted(store, "wanted-first")
    released = await granted(store, "released")
    await store.release(released, deadline=soon())
    with database.connect() as admin:
        admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
    await asyncio.to_thread(pg_control.stop)
    (pg_control.data_folder / "standby.signal").touch()
    await asyncio.to_thread(pg_control.start)
    with pytest.raises((LeaseUnavailable, LeaseUnknown)):
        await store.renew(mine, deadline=soon(0.5))
    with pg_control.connect() as admin:
        admin.execute("SELECT pg_promote()")
    contender = await make_store()

    async def acquire(name: str, request_id: str) -> Granted | HeldBy | Spent:
        wanted = wish(name=name, holder="pod-2", request_id=request_id)
        return await contender.acquire(wanted, floor=0, earlier_token=None, deadline=soon())

    held = await acquire("wanted-first", "c1")
    assert isinstance(held, HeldBy)
    assert held.row.token == waited_for.token
    assert 29 < held.row.valid_for_seconds <= 30
    assert await eventually_async(lambda: renewed(store, waited_for), within=10.0)
    assert await renewed(store, mine)
    assert isinstance(await acquire("released", "c2"), Granted)

    with database.connect() as admin:
        admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
    assert not await renewed(store, mine)
    taken = await acquire("wanted-first", "c3")
    assert isinstance(taken, Granted)
    assert taken.row.token >> 32 == (waited_for.token >> 32) + 1
