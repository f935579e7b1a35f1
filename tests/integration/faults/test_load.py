"""Pools that are exhausted, and a transaction that stays open: faults 10 and 20."""

import threading
from contextlib import ExitStack
from functools import partial

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.scene import Scene

RENEWALS = 100


def test_fault_10_with_every_pool_exhausted_and_queues_full_no_renewal_is_missed(scene: Scene) -> None:
    """I6."""
    small = {"size": 2, "max_waiting": 2, "wait_timeout": "30s", "policy": "patient"}
    patient = {"statement_age": {"warn": "10m"}}
    pod = scene.pod(pools={"app": small, "jobs": small}, policies={"patient": patient})
    holder = scene.holder(pod)
    with ExitStack() as crowd:
        for pool in ("app", "jobs"):
            for _ in range(2):
                leak = pod.daemon.connect(pool)
                crowd.callback(leak.close)
                leak.execute("SELECT 1")
            for _ in range(2):
                waiter = pod.daemon.connect(pool, autocommit=True)
                thread = threading.Thread(target=waiter.execute, args=("SELECT 1",))
                crowd.callback(waiter.close)
                crowd.callback(thread.join)
                thread.start()
            # Ended first, so that those who wait are served before they are closed.
            crowd.callback(_end_leaks, scene)
            eventually(partial(_both_wait, pod.daemon, pool))
        term = scene.elected(holder, ttl=5.0)
        for _ in range(RENEWALS):
            term = holder.renew(term)
            assert holder.leader("a") == term.token
    assert pod.daemon.metric("poolguard_lease_renew_failures_total") == 0
    scene.judge()


def _both_wait(daemon: Daemon, pool: str) -> bool:
    return bool(daemon.pool(pool)["waiting"] == 2)


def _end_leaks(scene: Scene) -> None:
    with scene.database.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        )


def test_fault_20_renewals_leave_little_behind_while_a_transaction_stays_open(scene: Scene) -> None:
    """Nothing can be cleaned up behind its back; `make lease-soak` does it with a thousand leases."""
    holder = scene.holder(scene.pod())
    term = scene.elected(holder, ttl=30.0)
    with scene.database.connect() as other, scene.database.connect() as admin:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT FROM poolguard.lease")
        for _ in range(RENEWALS):
            term = holder.renew(term)
        size = admin.execute("SELECT pg_total_relation_size('poolguard.lease')").fetchone()
        assert size is not None
        assert int(str(size[0])) <= RENEWALS * 400 + 8 * 8192, "more than a version a renewal"
        other.execute("COMMIT")
        for _ in range(RENEWALS):
            term = holder.renew(term)
        admin.execute("VACUUM poolguard.lease")
        dead = "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = 'poolguard.lease'::regclass"
        eventually(lambda: admin.execute(dead).fetchone() == (0,))  # PostgreSQL 14 counts a moment later
    scene.judge()
