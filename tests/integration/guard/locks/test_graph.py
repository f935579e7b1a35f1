"""Check 8: what real locks look like as a graph, and what it costs to read those of a large crowd."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from poolguard.aio.clock import SystemClock
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.guard.locks import queries
from poolguard.guard.locks.backends import Node
from poolguard.guard.locks.conflicts import MOST_AHEAD
from poolguard.guard.locks.observer import Observer
from poolguard.guard.locks.roots import RootKind, kind_of
from poolguard.guard.locks.state import LockState
from tests.integration.guard.locks.crowd import UPDATE, Crowd, nobody, seen
from tests.support.cluster import Database, of_embedded
from tests.support.eventually import eventually_async

CROWD = 200
PARALLEL = """
CREATE FUNCTION look() RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS $$ BEGIN PERFORM n FROM item; RETURN 1; END $$;
CREATE TABLE one (a int); INSERT INTO one VALUES (1)
"""
ALWAYS_PARALLEL = """
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode')
"""


@pytest.mark.parametrize("many", [20, 0])
async def test_a_parallel_worker_that_waits_is_its_leader(
    crowd: Crowd, observer: Observer, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the leader can be ended, and only its application can be asked."""
    monkeypatch.setattr(queries, "MANY_WAITERS", many)
    await crowd.join(*PARALLEL.split(";\n"))
    holder = await crowd.join("BEGIN", "LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
    leader = await crowd.stuck("SELECT look() FROM one", ALWAYS_PARALLEL)
    await seen(observer, 1)
    workers = await observer._ask(queries.WAITERS)
    assert [row["pid"] for row in workers] != [leader], "no worker waits: nothing ran in parallel"
    (tree,) = observer.state.graph.trees
    (branch,) = tree.branches
    assert (tree.root, tree.waiters) == (Node(holder.info.backend_pid), 1)
    assert (branch.wait.pid, branch.wait.target) == (leader, "relation public.item")
    assert branch.backend is not None
    assert (branch.backend.pid, branch.backend.kind) == (leader, "client backend")


@pytest.mark.parametrize("many", [20, 0])
async def test_who_holds_a_lock_and_wants_a_stronger_one_does_not_wait_for_itself(
    crowd: Crowd, observer: Observer, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MANY_WAITERS", many)
    share = "LOCK TABLE item IN SHARE MODE"
    other = await crowd.join("BEGIN", share)
    upgrading = await crowd.stuck("LOCK TABLE item IN EXCLUSIVE MODE", "BEGIN", share)
    await seen(observer, 1)
    (tree,) = observer.state.graph.trees
    assert tree.root == Node(other.info.backend_pid)
    assert [branch.wait.pid for branch in tree.branches] == [upgrading]
    assert observer.state.graph.cycles == ()


class Counting(Observer):
    """Notes what it asks."""

    asked: list[str]

    async def _ask(self, sql: str, *values: object) -> list[psycopg.rows.DictRow]:
        self.asked.append(sql)
        return await super()._ask(sql, *values)  # type: ignore[arg-type]


async def counting(database: Database) -> Counting:
    observer = Counting(database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.0)
    observer.asked = []
    await observer.connect()
    return observer


async def collected(observer: Counting) -> None:
    """Look until a look was more than a poll; what it asked is noted. On a slow machine many looks are no more."""

    async def look() -> bool:
        observer.asked.clear()
        await observer.look()
        return observer.asked != [queries.WAITERS]

    await eventually_async(look, within=30)


async def test_up_to_twenty_waiters_are_asked_about_and_beyond_them_pg_locks_is_read_once(crowd: Crowd) -> None:
    observer = await counting(crowd.database)
    try:
        await crowd.join("BEGIN", UPDATE)
        for _ in range(queries.MANY_WAITERS):
            await crowd.stuck(UPDATE)
        await seen(observer, queries.MANY_WAITERS)
        assert (queries.BLOCKERS in observer.asked, queries.LOCKS in observer.asked) == (True, False)
        await crowd.stuck(UPDATE)
        await seen(observer, queries.MANY_WAITERS + 1)
        await collected(observer)
        assert observer.asked == [queries.WAITERS, queries.LOCKS, queries.BACKENDS]
    finally:
        await observer.stop()


@pytest.fixture(scope="module")
def large() -> Iterator[Database]:
    """A PostgreSQL that lets so many in."""
    with EmbeddedPostgres(settings={"max_connections": str(CROWD + 20)}) as postgres:
        yield of_embedded(postgres)


@pytest.fixture
async def large_crowd(large: Database) -> AsyncIterator[Crowd]:
    found = Crowd(large)
    await found.join("CREATE TABLE item (id int PRIMARY KEY, n int)", "INSERT INTO item VALUES (1, 0)")
    yield found
    await found.leave()


async def test_two_hundred_waiters_are_one_reading_within_its_bound(large_crowd: Crowd) -> None:
    """PostgreSQL ends each question after 250 ms: a dearer one would raise here."""
    observer = await counting(large_crowd.database)
    try:
        leak = await large_crowd.join("BEGIN", UPDATE)
        for _ in range(CROWD // 20):
            await asyncio.gather(*(large_crowd.stuck(UPDATE) for _ in range(20)))
        await seen(observer, CROWD)
        await collected(observer)
        assert observer.asked == [queries.WAITERS, queries.LOCKS, queries.BACKENDS]
        assert await observer._ask("SHOW statement_timeout") == [{"statement_timeout": "250ms"}]
        (tree,) = observer.state.graph.trees
        assert (tree.root, kind_of(tree)) == (Node(leak.info.backend_pid), RootKind.LEAK)
        assert (tree.waiters, len(tree.branches)) == (CROWD, CROWD)
        assert max(len(branch.wait.blockers) for branch in tree.branches) <= MOST_AHEAD + 1
    finally:
        await observer.stop()
