"""`poolguard.holds(name, token)`: what it lets pass, what it stops, and what it makes wait."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from poolguard.core.errors import LeaseUnavailable
from poolguard.lease.store import Granted, HeldBy, LeaseStore, Renewed
from poolguard.lease.terms import TermKey
from tests.integration.lease.conftest import MakeStore, soon, wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async

FENCE = "SELECT poolguard.holds(%s, %s)"


async def held(store: LeaseStore, ttl: float = 30.0) -> TermKey:
    answer = await store.acquire(wish(ttl=ttl), floor=0, earlier_token=None, deadline=soon())
    assert isinstance(answer, Granted)
    return TermKey("a", "pod-1", answer.row.token)


async def rival(store: LeaseStore, request_id: str = "r2") -> Granted | HeldBy:
    answer = await store.acquire(
        wish(holder="pod-2", request_id=request_id), floor=0, earlier_token=None, deadline=soon()
    )
    assert isinstance(answer, Granted | HeldBy)
    return answer


async def test_the_running_term_passes(store: LeaseStore, database: Database) -> None:
    term = await held(store)
    async with await database.connect_async() as application:
        found = await (await application.execute(FENCE, [term.name, term.token])).fetchone()
    assert found == (True,)


@pytest.mark.parametrize("what", ["older", "newer", "other name", "released", "expired", "deleted"])
async def test_anything_else_is_an_error_with_55000(store: LeaseStore, database: Database, what: str) -> None:
    term = await held(store)
    name, token = term.name, term.token
    async with await database.connect_async() as application:
        match what:
            case "older":
                token -= 1
            case "newer":
                token += 1
            case "other name":
                name = "b"
            case "released":
                await store.release(term, deadline=soon())
            case "expired":
                await application.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
            case "deleted":
                await application.execute("DELETE FROM poolguard.lease")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            await application.execute(FENCE, [name, token])
    assert caught.value.sqlstate == "55000"


async def test_renewals_pass_a_fenced_transaction_and_a_takeover_waits_for_its_end(
    store: LeaseStore, database: Database
) -> None:
    """I3: no write under an older token commits after one under a newer token."""
    term = await held(store)
    async with await database.connect_async() as application, application.transaction():
        await application.execute(FENCE, [term.name, term.token])
        assert isinstance(await store.renew(term, deadline=soon()), Renewed)
        await store.release(term, deadline=soon())
        with pytest.raises(LeaseUnavailable, match="keeps the lease's row locked"):
            await rival(store)
        waiting = asyncio.ensure_future(rival(store))
        await eventually_async(lambda: is_waiting(database))
        await application.execute("CREATE TABLE written ()")
    answer = await waiting
    assert isinstance(answer, Granted)
    assert answer.row.token > term.token


async def is_waiting(database: Database) -> bool:
    async with await database.connect_async() as admin:
        found = await admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'poolguard-lease'"
        )
        return await found.fetchone() is not None


async def test_a_fence_that_waited_for_a_takeover_finds_its_term_over(store: LeaseStore, database: Database) -> None:
    term = await held(store)
    async with (
        await database.connect_async() as other,
        await database.connect_async() as application,
    ):
        async with other.transaction():
            await other.execute("SELECT FROM poolguard.lease FOR UPDATE")
            fencing = asyncio.ensure_future(application.execute(FENCE, [term.name, term.token]))
            await eventually_async(lambda: is_blocked(database))
            await other.execute("UPDATE poolguard.lease SET token = token + 1")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            await fencing


async def is_blocked(database: Database) -> bool:
    async with await database.connect_async() as admin:
        found = await admin.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'holds'")
        return await found.fetchone() is not None


async def test_an_application_needs_the_use_of_the_schema_and_nothing_else(
    store: LeaseStore, database: Database
) -> None:
    term = await held(store)
    role = f"app_{uuid4().hex[:8]}"
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        try:
            dsn = psycopg.conninfo.make_conninfo(database.dsn, user=role, password="secret")
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as application:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await application.execute(FENCE, [term.name, term.token])
                admin.execute(f"GRANT USAGE ON SCHEMA poolguard TO {role}")
                await application.execute(FENCE, [term.name, term.token])
                # A table of the caller's own can't stand in for ours.
                await application.execute("CREATE TEMP TABLE lease AS SELECT 'a' AS name, 1::bigint AS token")
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                    await application.execute(FENCE, ["a", 1])
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await application.execute("SELECT FROM poolguard.lease")
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


async def test_a_role_that_may_not_create_the_function_holds_leases_all_the_same(
    make_store: MakeStore, store: LeaseStore, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    with database.connect() as admin:
        admin.execute("DROP FUNCTION poolguard.holds")
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        try:
            admin.execute(f"GRANT USAGE ON SCHEMA poolguard TO {role}")
            admin.execute(f"GRANT SELECT, INSERT, UPDATE ON poolguard.lease TO {role}")
            admin.execute(f"GRANT USAGE ON SEQUENCE poolguard.lease_token TO {role}")
            poor = await make_store(psycopg.conninfo.make_conninfo(database.dsn, user=role, password="secret"))
            await poor.prepare()
            assert "fences transactions is missing" in caplog.text
            await held(poor)
            await poor.close()
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")
    await store.prepare()
    with database.connect() as admin:
        assert admin.execute("SELECT to_regprocedure('poolguard.holds(text,bigint)') IS NOT NULL").fetchone() == (True,)


async def test_the_example_writes_as_the_holder_and_not_afterwards(store: LeaseStore, database: Database) -> None:
    term = await held(store)
    example = Path(__file__).parents[3] / "examples" / "fence" / "fence_psycopg.py"

    async def run() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(example),
            term.name,
            str(term.token),
            env={**os.environ, "DATABASE_URL": database.dsn},
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await process.communicate()
        return process.returncode, told.decode()

    assert await run() == (0, "")
    await store.release(term, deadline=soon())
    code, told = await run()
    assert code == 1
    assert "not the holder any more" in told
