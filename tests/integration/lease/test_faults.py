"""Leases on a PostgreSQL that is slow, locked, restarted, read-only or oddly set up."""

import asyncio
import random
from uuid import uuid4

import psycopg
import pytest

from poolguard.aio.clock import SystemClock
from poolguard.core.errors import LeaseUnavailable
from poolguard.lease.store import Granted, HeldBy, LeaseStore, Over, Renewed
from poolguard.lease.terms import TermKey, Wanted
from tests.integration.lease.conftest import MakeStore, soon, wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async


async def granted(store: LeaseStore, wanted: Wanted) -> TermKey:
    answer = await store.acquire(wanted, floor=0, earlier_token=None, deadline=soon())
    assert isinstance(answer, Granted)
    return TermKey(wanted.name, wanted.holder, answer.row.token)


async def test_of_many_contenders_at_the_end_of_a_term_one_wins(
    make_store: MakeStore, store: LeaseStore, database: Database
) -> None:
    """2,000 tries of four contenders: one winner each round, and tokens that only grow."""
    other = await make_store()
    last = (await granted(store, wish())).token
    async with await database.connect_async() as admin:
        for number in range(500):
            await admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
            answers = await asyncio.gather(
                *(
                    one.acquire(
                        wish(holder=f"pod-{contender}", request_id=f"{number}-{contender}"),
                        floor=0,
                        earlier_token=None,
                        deadline=soon(),
                    )
                    for contender, one in enumerate((store, other, store, other))
                )
            )
            winners = [answer for answer in answers if isinstance(answer, Granted)]
            assert len(winners) == 1
            assert winners[0].row.token > last
            last = winners[0].row.token
            assert all(answer.row.token == last for answer in answers if isinstance(answer, HeldBy))


async def test_first_term_of_a_new_name_has_one_winner(make_store: MakeStore, store: LeaseStore) -> None:
    other = await make_store()
    for number in range(50):
        answers = await asyncio.gather(
            *(
                one.acquire(
                    wish(name=f"n{number}", holder=f"pod-{contender}", request_id=f"r{contender}"),
                    floor=0,
                    earlier_token=None,
                    deadline=soon(),
                )
                for contender, one in enumerate((store, other, store, other))
            )
        )
        assert sum(isinstance(answer, Granted) for answer in answers) == 1


async def test_renewal_at_the_very_end_and_takeover_never_both_succeed(
    make_store: MakeStore, store: LeaseStore, database: Database
) -> None:
    contender = await make_store()
    chance = random.Random(16)  # where the end falls between the two; the rule holds wherever it does
    outcomes = {"renewed": 0, "taken": 0}
    async with await database.connect_async() as admin:
        term = await granted(store, wish())
        for number in range(200):
            await admin.execute(
                "UPDATE poolguard.lease SET expires_at = clock_timestamp() + make_interval(secs => %s)",
                [chance.uniform(0.0, 0.004)],
            )
            renewed, taken = await asyncio.gather(
                store.renew(term, deadline=soon()),
                contender.acquire(
                    wish(holder="pod-2", request_id=f"c{number}"), floor=0, earlier_token=None, deadline=soon()
                ),
            )
            assert not (isinstance(renewed, Renewed) and isinstance(taken, Granted))
            outcomes["renewed"] += isinstance(renewed, Renewed)
            if isinstance(taken, Granted):
                outcomes["taken"] += 1
                await contender.release(TermKey("a", "pod-2", taken.row.token), deadline=soon())
            if not isinstance(renewed, Renewed):
                await admin.execute("UPDATE poolguard.lease SET expires_at = 'epoch'")
                term = await granted(store, wish(request_id=f"h{number}"))
    assert min(outcomes.values()) > 0, f"the race was never close: {outcomes}"


async def test_renewal_that_waited_for_the_row_past_the_end_does_not_revive_the_term(
    store: LeaseStore, database: Database
) -> None:
    """PostgreSQL does not look at a row again that another transaction only locked."""
    term = await granted(store, wish())
    async with await database.connect_async() as locker, await database.connect_async() as admin:
        await admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp() + interval '300 ms'")
        async with locker.transaction():
            await locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
            renewal = asyncio.ensure_future(store.renew(term, deadline=soon()))

            async def waits() -> bool:
                found = await admin.execute(
                    "SELECT FROM pg_stat_activity"
                    " WHERE application_name = 'poolguard-lease' AND wait_event_type = 'Lock'"
                )
                return found.rowcount == 1

            async def is_over() -> bool:
                return (
                    await admin.execute("SELECT FROM poolguard.lease WHERE expires_at < clock_timestamp()")
                ).rowcount == 1

            await eventually_async(waits)
            await eventually_async(is_over)
        answer = await renewal
    assert isinstance(answer, Over)
    assert answer.row is not None
    assert not answer.row.running


async def test_renewal_of_a_locked_row_is_unavailable_while_the_term_runs_and_over_afterwards(
    store: LeaseStore, database: Database
) -> None:
    term = await granted(store, wish())
    async with await database.connect_async() as locker, await database.connect_async() as admin:
        async with locker.transaction():
            await locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
            with pytest.raises(LeaseUnavailable, match="locked"):
                await store.renew(term, deadline=soon())
        await admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp() + interval '500 ms'")
        async with locker.transaction():
            await locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
            assert isinstance(await store.renew(term, deadline=soon()), Over)


async def test_fenced_transaction_lets_renewals_pass_and_holds_up_a_takeover(
    store: LeaseStore, database: Database
) -> None:
    term = await granted(store, wish())
    async with await database.connect_async() as application:
        async with application.transaction():
            await application.execute(
                "SELECT FROM poolguard.lease WHERE name = %s AND token = %s AND expires_at > clock_timestamp()"
                " FOR KEY SHARE",
                [term.name, term.token],
            )
            assert isinstance(await store.renew(term, deadline=soon()), Renewed)
            assert not isinstance(await store.release(term, deadline=soon()), Over)
            with pytest.raises(LeaseUnavailable, match="locked"):
                await granted(store, wish(holder="pod-2", request_id="r2"))
        assert (await granted(store, wish(holder="pod-2", request_id="r2"))).token > term.token


async def test_connections_that_are_ended_are_replaced_and_the_request_still_succeeds(
    store: LeaseStore, database: Database
) -> None:
    term = await granted(store, wish())
    async with await database.connect_async() as admin:
        for _ in range(3):
            ended = await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'poolguard-lease' AND datname = current_database()"
            )
            assert ended.rowcount > 0
            assert isinstance(await store.renew(term, deadline=soon()), Renewed)


async def test_connection_that_is_ended_in_the_middle_of_a_request_costs_nothing(
    store: LeaseStore, database: Database
) -> None:
    term = await granted(store, wish())
    async with await database.connect_async() as locker, await database.connect_async() as admin:
        async with locker.transaction():
            await locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
            renewal = asyncio.ensure_future(store.renew(term, deadline=soon()))

            async def ended() -> bool:
                found = await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'poolguard-lease' AND wait_event_type = 'Lock'"
                )
                return found.rowcount == 1

            await eventually_async(ended)
        assert isinstance(await renewal, Renewed)


async def test_statement_that_is_not_answered_is_given_up_in_time_and_its_connection_replaced(
    store: LeaseStore, database: Database
) -> None:
    term = await granted(store, wish())
    async with await database.connect_async() as admin:
        await admin.execute("ALTER TABLE poolguard.lease RENAME TO hidden")
        await admin.execute(
            "CREATE VIEW poolguard.lease AS SELECT h.* FROM poolguard.hidden h, (SELECT pg_sleep(30)) s"
        )
        try:
            began = SystemClock().monotonic()
            with pytest.raises(LeaseUnavailable):
                await store.read("a", deadline=soon(0.4))
            assert SystemClock().monotonic() - began < 2.5, "as late as PostgreSQL's own limit for it, of 3 s"
        finally:
            await admin.execute("DROP VIEW poolguard.lease")
            await admin.execute("ALTER TABLE poolguard.hidden RENAME TO lease")
    assert isinstance(await store.renew(term, deadline=soon()), Renewed)


async def test_fault_21_odd_defaults_of_the_role_change_nothing(
    make_store: MakeStore, store: LeaseStore, database: Database
) -> None:
    role = f"odd_{uuid4().hex[:8]}"
    async with await database.connect_async() as admin:
        await admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'secret'")
        try:
            for setting in (
                "default_transaction_isolation = 'serializable'",
                "\"TimeZone\" = 'Asia/Kathmandu'",
                "\"DateStyle\" = 'SQL, DMY'",
                "lock_timeout = '1ms'",
                "statement_timeout = '1h'",
                "synchronous_commit = 'off'",
                "search_path = 'nowhere'",
            ):
                await admin.execute(f"ALTER ROLE {role} SET {setting}")
            odd = await make_store(psycopg.conninfo.make_conninfo(database.dsn, user=role, password="secret"))
            await granted(store, wish())
            for number in range(50):
                await admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
                answers = await asyncio.gather(
                    *(
                        one.acquire(
                            wish(holder=f"pod-{contender}", request_id=f"{number}-{contender}"),
                            floor=0,
                            earlier_token=None,
                            deadline=soon(),
                        )
                        for contender, one in enumerate((odd, store, odd, odd))
                    )
                )
                assert sum(isinstance(answer, Granted) for answer in answers) == 1
            row = await odd.read("a", deadline=soon())
            assert row is not None
            assert 29 < row.valid_for_seconds <= 30
            await odd.close()
        finally:
            await admin.execute(f"DROP ROLE {role}")


async def test_a_request_that_is_cancelled_takes_its_connection_with_it_at_once(
    store: LeaseStore, database: Database
) -> None:
    """psycopg alone would first ask PostgreSQL to cancel, and wait for that: up to ten seconds of one that hangs."""
    term = await granted(store, wish())
    async with await database.connect_async() as admin, admin.transaction():
        await admin.execute("SELECT FROM poolguard.lease FOR UPDATE")
        renewal = asyncio.ensure_future(store.renew(term, deadline=soon()))
        await eventually_async(lambda: _waits(database))
        renewal.cancel()
        turns = 0
        while not renewal.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns < 10
    assert isinstance(await store.renew(term, deadline=soon()), Renewed)


async def _waits(database: Database) -> bool:
    async with await database.connect_async() as look:
        found = await look.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s", [database.name]
        )
        return found.rowcount > 0
