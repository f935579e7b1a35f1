"""The lock graph of a real PostgreSQL."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from poolguard.aio.clock import SystemClock
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.locks import queries
from poolguard.guard.locks.backends import Node
from poolguard.guard.locks.observer import TIER_SECONDS, Observer
from poolguard.guard.locks.roots import RootKind, kind_of
from poolguard.guard.locks.state import LockState
from poolguard.ledger.entries import SessionEntry
from poolguard.ledger.facts import Transaction, transaction_facts
from poolguard.ledger.hands import Outcome
from tests.integration.guard.locks.crowd import UPDATE, Crowd, nobody, quietly, seen
from tests.support.clock import ManualClock
from tests.support.cluster import Database
from tests.support.eventually import eventually_async


async def test_a_leak_is_the_root_of_all_who_wait_behind_it(crowd: Crowd, observer: Observer) -> None:
    leak = await crowd.join("BEGIN", UPDATE)
    first = await crowd.stuck(UPDATE)
    await seen(observer, 1)
    second = await crowd.stuck(UPDATE)
    await seen(observer, 2)
    (tree,) = observer.state.graph.trees
    assert tree.root == Node(leak.info.backend_pid)
    assert kind_of(tree) is RootKind.LEAK
    assert {branch.wait.pid for branch in tree.branches} == {first, second}
    assert tree.backend is not None
    assert tree.backend.statement is not None
    assert tree.backend.statement.text == "update item set n = n + ? where id = ?"
    assert {branch.wait.mode for branch in tree.branches} <= {"ShareLock", "ExclusiveLock"}


async def test_many_waiters_are_worked_out_of_one_reading_and_give_the_same_tree(
    crowd: Crowd, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 8: who waits in a queue behind somebody who waits."""
    leak = await crowd.join("BEGIN", UPDATE, "LOCK TABLE item IN ROW EXCLUSIVE MODE")
    alter = await crowd.stuck("ALTER TABLE item ADD m int")
    await seen(observer, 1)
    reader = await crowd.stuck("SELECT * FROM item")
    await seen(observer, 2)
    asked = observer.state.graph
    monkeypatch.setattr(queries, "MANY_WAITERS", 0)
    await observer.look()
    read = observer.state.graph
    for graph in (asked, read):
        (tree,) = graph.trees
        assert tree.root == Node(leak.info.backend_pid)
        # The reader conflicts with nothing that is held: it waits behind the ALTER TABLE that waits.
        assert [(branch.wait.pid, branch.depth) for branch in tree.branches] == [(alter, 1), (reader, 2)]
        assert tree.branches[0].wait.target == "relation public.item"


async def test_a_deadlock_in_formation_is_a_cycle(crowd: Crowd, observer: Observer) -> None:
    patient = "SET deadlock_timeout = '60s'"
    one = await crowd.join(patient, "BEGIN", UPDATE)
    two = await crowd.join(patient, "BEGIN", "UPDATE item SET n = 1 WHERE id = 2")
    for connection, row in ((one, 2), (two, 1)):
        crowd.tasks.append(
            asyncio.create_task(quietly(connection.execute(b"SELECT n FROM item WHERE id = %d FOR UPDATE" % row)))
        )
    await seen(observer, 2)
    assert observer.state.graph.trees == ()
    assert observer.state.graph.cycles == (tuple(sorted(Node(c.info.backend_pid) for c in (one, two))),)


@pytest.mark.parametrize("many", [20, 0])
async def test_a_prepared_transaction_is_named_by_its_gid(
    crowd: Crowd, observer: Observer, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 8: asked for each waiter, and out of one reading of pg_locks."""
    monkeypatch.setattr(queries, "MANY_WAITERS", many)
    (limit,) = await (await crowd.connections[0].execute(b"SHOW max_prepared_transactions")).fetchone() or ("0",)
    if limit == "0":
        pytest.skip("needs max_prepared_transactions above 0; the embedded PostgreSQL of the tests has it")
    await crowd.join("BEGIN", UPDATE, "PREPARE TRANSACTION 'order-7'")
    try:
        await crowd.stuck(UPDATE)
        await seen(observer, 1)
        (tree,) = observer.state.graph.trees
        assert tree.root == Node(0, "order-7")
    finally:
        await crowd.join("ROLLBACK PREPARED 'order-7'")


async def test_our_own_transactions_are_recognised_by_their_backend(crowd: Crowd, observer: Observer) -> None:
    leak = await crowd.join("BEGIN", UPDATE)
    victim = await crowd.stuck(UPDATE)
    facts = {pid: facts_of(number, pid) for number, pid in enumerate((leak.info.backend_pid, victim), start=1)}
    observer._transactions = lambda now: list(facts.values())
    await seen(observer, 1)
    assert observer.state.blocking[TransactionId(SessionId(1), 1)].sessions == 1
    assert observer.state.blocked[TransactionId(SessionId(2), 1)].pid == victim
    await leak.execute(b"ROLLBACK")
    await seen(observer, 0)
    assert (observer.state.blocking, observer.state.blocked) == ({}, {})
    assert [tree.tree.root.pid for tree in observer.state.history] == [leak.info.backend_pid]


def facts_of(number: int, pid: int) -> Transaction:
    entry = SessionEntry(SessionId(number), client_address="x", connected_at=0.0)
    entry.checkout, entry.backend_pid, entry.pool = 1, pid, "app"
    return transaction_facts(entry, 0.0)


async def test_a_role_without_privileges_sees_the_waits_of_its_own_and_the_pids_of_others(crowd: Crowd) -> None:
    await crowd.join("CREATE ROLE plain LOGIN", "GRANT ALL ON item TO plain")
    plain = Crowd(Database(psycopg.conninfo.make_conninfo(crowd.database.dsn, user="plain")))
    observer = Observer(plain.database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.0)
    try:
        await observer.connect()
        assert (observer.state.tier.name, observer.state.tier.may_signal, observer.state.tier.pid_opaque) == (
            "own",
            False,
            False,
        )
        leak = await crowd.join("BEGIN", UPDATE)
        waiter = await plain.stuck(UPDATE)
        await seen(observer, 1)
        (tree,) = observer.state.graph.trees
        assert tree.root == Node(leak.info.backend_pid)
        assert kind_of(tree) is RootKind.FOREIGN
        assert [branch.wait.pid for branch in tree.branches] == [waiter]
    finally:
        await observer.stop()
        await plain.leave()
        await crowd.leave()
        await crowd.join("DROP OWNED BY plain", "DROP ROLE plain")


async def test_the_tier_says_what_was_granted(crowd: Crowd) -> None:
    await crowd.join(
        "CREATE ROLE seer LOGIN IN ROLE pg_read_all_stats", "CREATE ROLE ender LOGIN IN ROLE pg_signal_backend"
    )
    try:
        for role, tier in (("seer", "sees_all"), ("ender", "signals"), (crowd.database.user, "signals")):
            dsn = psycopg.conninfo.make_conninfo(crowd.database.dsn, user=role)
            observer = Observer(dsn, LockState(), clock=SystemClock(), transactions=nobody)
            assert observer.state.tier.name == "unknown"
            await observer.connect()
            assert observer.state.tier.name == tier
            await observer.stop()
    finally:
        await crowd.join("DROP ROLE seer", "DROP ROLE ender")


async def test_what_is_granted_later_is_noticed_within_a_minute(crowd: Crowd, caplog: pytest.LogCaptureFixture) -> None:
    await crowd.join("CREATE ROLE late LOGIN")
    clock = ManualClock(1000.0)
    dsn = psycopg.conninfo.make_conninfo(crowd.database.dsn, user="late")
    observer = Observer(dsn, LockState(), clock=clock, transactions=nobody)
    try:
        await observer.connect()
        await crowd.join("GRANT pg_signal_backend TO late")
        await clock.advance(TIER_SECONDS - 1)
        await observer.look_at_tier()
        assert observer.state.tier.name == "own", "it need not ask all the time"
        await clock.advance(1)
        with caplog.at_level(logging.INFO):
            await observer.look_at_tier()
            await observer.look_at_tier()
        assert observer.state.tier.name == "signals"
        assert caplog.messages == ["what the observer may see and end has changed"]
    finally:
        await observer.stop()
        await crowd.join("DROP ROLE late")


async def identity_of(crowd: Crowd, pid: int) -> Any:
    observer = Observer(crowd.database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.0)
    await observer.connect()
    try:
        (backend,) = (await observer.backends([pid])).values()
    finally:
        await observer.stop()
    return backend.identity


async def test_a_signal_ends_only_who_still_does_what_was_seen(crowd: Crowd, observer: Observer) -> None:
    """Check 6: between look and signal the backend may have begun another transaction: then nothing is sent."""
    victim = await crowd.join("BEGIN", UPDATE)
    before = await identity_of(crowd, victim.info.backend_pid)
    await victim.execute(b"ROLLBACK")
    await victim.execute(b"BEGIN")
    assert not await observer.signal(before, terminate=True)
    assert (await (await victim.execute(b"SELECT 1")).fetchone()) == (1,)


async def test_a_signal_ends_a_foreign_transaction_that_goes_on(crowd: Crowd, observer: Observer) -> None:
    await crowd.join("CREATE ROLE plain LOGIN", "GRANT ALL ON item TO plain")
    plain = Crowd(Database(psycopg.conninfo.make_conninfo(crowd.database.dsn, user="plain")))
    try:
        victim = await plain.join("BEGIN", UPDATE)
        assert await observer.signal(await identity_of(crowd, victim.info.backend_pid), terminate=True)
        with pytest.raises(psycopg.OperationalError):
            await victim.execute(b"SELECT 1")
    finally:
        await plain.leave()
        await crowd.join("DROP OWNED BY plain", "DROP ROLE plain")


async def test_superusers_are_never_signalled(crowd: Crowd, observer: Observer) -> None:
    victim = await crowd.join("BEGIN", UPDATE)
    assert not await observer.signal(await identity_of(crowd, victim.info.backend_pid), terminate=True)


async def test_an_end_is_done_when_the_backend_is_seen_to_have_obeyed(crowd: Crowd, observer: Observer) -> None:
    await crowd.join("CREATE ROLE plain LOGIN", "GRANT ALL ON item TO plain")
    plain = Crowd(Database(psycopg.conninfo.make_conninfo(crowd.database.dsn, user="plain")))
    try:
        victim = await plain.join("BEGIN", UPDATE)
        pid = victim.info.backend_pid
        sleeping = asyncio.create_task(quietly(victim.execute(b"SELECT pg_sleep(60)")))

        async def running() -> bool:
            found = await observer.backends([pid])
            return found[pid].wait_event == "Timeout/PgSleep"

        await eventually_async(running, within=10)
        assert await observer.end(await identity_of(crowd, pid), terminate=False) is Outcome.DONE
        await sleeping
        aborted = await identity_of(crowd, pid)
        assert aborted.state == "idle in transaction (aborted)"
        assert await observer.end(aborted, terminate=True) is Outcome.DONE
        assert await observer.backends([pid]) == {}
        assert await observer.end(aborted, terminate=True) is Outcome.VICTIM_MOVED
    finally:
        await plain.leave()
        await crowd.join("DROP OWNED BY plain", "DROP ROLE plain")


async def test_who_began_another_transaction_meanwhile_is_not_ended(crowd: Crowd, observer: Observer) -> None:
    """Check 6: the same process, the same state, another transaction."""
    await crowd.join("CREATE ROLE plain LOGIN", "GRANT ALL ON item TO plain")
    plain = Crowd(Database(psycopg.conninfo.make_conninfo(crowd.database.dsn, user="plain")))
    try:
        victim = await plain.join("BEGIN", UPDATE)
        judged = await identity_of(crowd, victim.info.backend_pid)
        for sql in (b"COMMIT", b"BEGIN", UPDATE.encode()):
            await victim.execute(sql)
        assert (await identity_of(crowd, victim.info.backend_pid)).state == judged.state
        assert await observer.end(judged, terminate=True) is Outcome.VICTIM_MOVED
        assert (await (await victim.execute(b"SELECT 1")).fetchone()) == (1,)
    finally:
        await plain.leave()
        await crowd.join("DROP OWNED BY plain", "DROP ROLE plain")


async def test_a_role_that_may_not_signal_or_not_see_ends_nothing(crowd: Crowd) -> None:
    await crowd.join(
        "CREATE ROLE plain LOGIN IN ROLE pg_read_all_stats", "CREATE ROLE other LOGIN", "GRANT ALL ON item TO other"
    )
    dsn = crowd.database.dsn
    other = Crowd(Database(psycopg.conninfo.make_conninfo(dsn, user="other")))
    observer = Observer(
        psycopg.conninfo.make_conninfo(dsn, user="plain"),
        LockState(),
        clock=SystemClock(),
        transactions=nobody,
        interval=0.0,
    )
    try:
        victim = await other.join("BEGIN", UPDATE)
        await observer.connect()
        seen_as = await identity_of(crowd, victim.info.backend_pid)
        assert await observer.end(seen_as, terminate=True) is Outcome.NO_PRIVILEGE
        assert await observer.end(replace(seen_as, state=None), terminate=True) is Outcome.NO_PRIVILEGE
        assert (await (await victim.execute(b"SELECT 1")).fetchone()) == (1,)
    finally:
        await observer.stop()
        assert await observer.end(seen_as, terminate=True) is Outcome.FAILED
        await other.leave()
        await crowd.join("DROP OWNED BY other", "DROP ROLE other", "DROP ROLE plain")


async def test_why_it_can_not_connect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    observer = Observer(
        "host=127.0.0.1 port=1 user=u", LockState(), clock=SystemClock(), transactions=nobody, interval=1
    )
    await observer.start()
    try:
        await eventually_async(lambda: observer.state.failures_total == 1, within=10)
    finally:
        await observer.stop()
    (record,) = [record for record in caplog.records if "the lock graph can't be read" in record.message]
    assert "refused" in vars(record)["reason"]


async def test_it_connects_again_and_knows_nothing_meanwhile(crowd: Crowd, database: Database) -> None:
    observer = Observer(database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.01)
    await observer.start()
    try:
        await crowd.join("BEGIN", UPDATE)
        await crowd.stuck(UPDATE)
        await eventually_async(lambda: observer.state.graph.waiters == 1, within=10)
        await crowd.connections[0].execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'poolguard-observer'"
            b" AND datname = current_database()"
        )
        await eventually_async(
            lambda: observer.state.graph.waiters == 0 and observer.state.failures_total == 1, within=10
        )
        await eventually_async(lambda: observer.state.connected and observer.state.graph.waiters == 1, within=10)
    finally:
        await observer.stop()
