"""Ready means: clients can be served."""

from poolguard.web.readiness import (
    GRACE_SECONDS,
    Check,
    LeaseStore,
    Readiness,
    check_leases,
    check_process,
    is_ready,
)
from tests.support.snapshots import pool_snapshot

WELL = pool_snapshot(idle=1, opened_total=1)
UNUSED = pool_snapshot()
IDLED_OUT = pool_snapshot(opened_total=3)
FAILING = pool_snapshot(last_error="connection refused", open_failures_total=1)


def pool_ok(readiness: Readiness, *moments: tuple[object, float]) -> bool:
    result = False
    for pool, now in moments:
        (check,) = readiness.check_pools([pool], now)  # type: ignore[list-item] # snapshots, all of them
        result = check.ok
    return result


def test_a_pool_is_ready_that_has_a_server_or_had_one_and_needs_none() -> None:
    for pool in (WELL, IDLED_OUT):
        assert pool_ok(Readiness(), (pool, 0.0))


def test_a_pool_with_a_server_is_ready_though_the_next_can_not_be_opened() -> None:
    assert pool_ok(Readiness(), (pool_snapshot(held=1, last_error="too many clients"), 0.0))


def test_a_pool_that_never_could_open_is_not_ready_and_says_why() -> None:
    (check,) = Readiness().check_pools([FAILING], 0.0)

    assert check == Check("pool:app", ok=False, why="no server can be opened: connection refused")


def test_a_pool_that_could_a_moment_ago_stays_ready_for_a_while() -> None:
    assert pool_ok(Readiness(), (WELL, 0.0), (FAILING, GRACE_SECONDS))
    assert not pool_ok(Readiness(), (WELL, 0.0), (FAILING, GRACE_SECONDS + 0.1))


def test_a_pool_that_has_never_had_a_server_is_not_ready() -> None:
    (check,) = Readiness().check_pools([UNUSED], 0.0)

    assert check == Check("pool:app", ok=False, why="its first server is still being opened")


def test_having_been_unused_is_no_proof_that_it_could_open() -> None:
    assert not pool_ok(Readiness(), (UNUSED, 0.0), (FAILING, 1.0))


def test_a_pool_that_a_reload_took_away_is_forgotten() -> None:
    readiness = Readiness()
    readiness.check_pools([WELL], 0.0)
    readiness.check_pools([], 1.0)

    assert not pool_ok(readiness, (FAILING, 2.0))


def test_each_thing_about_the_process_decides() -> None:
    assert is_ready(check_process(started=True, listening=True, draining=False))
    assert not is_ready(check_process(started=False, listening=True, draining=False))
    assert not is_ready(check_process(started=True, listening=False, draining=False))
    assert not is_ready(check_process(started=True, listening=True, draining=True))


def test_a_lease_store_that_is_away_is_told_and_decides_nothing() -> None:
    check = check_leases(LeaseStore.AWAY)

    assert not check.ok
    assert is_ready([check])
    assert check_leases(LeaseStore.OFF).ok
