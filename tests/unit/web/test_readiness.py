"""Ready means: clients can be served."""

from poolguard.web.readiness import Check, LeaseStore, Readiness, check_leases, check_process, is_ready
from tests.support.snapshots import pool_snapshot

WELL = pool_snapshot(idle=1, opened_total=1)
UNUSED = pool_snapshot()
IDLED_OUT = pool_snapshot(opened_total=3)
FAILING = pool_snapshot(last_error="connection refused", open_failures_total=1)


def test_a_pool_is_ready_that_has_a_server_or_had_one_and_needs_none() -> None:
    for pool in (WELL, IDLED_OUT):
        assert is_ready(Readiness().check_pools([pool]))


def test_a_pool_with_a_server_is_ready_though_the_next_can_not_be_opened() -> None:
    assert is_ready(Readiness().check_pools([pool_snapshot(held=1, last_error="too many clients")]))


def test_a_pool_that_never_could_open_is_not_ready_and_says_why() -> None:
    (check,) = Readiness().check_pools([FAILING])

    assert check == Check("pool:app", ok=False, why="no server can be opened: connection refused")


def test_a_pool_that_has_never_had_a_server_is_not_ready() -> None:
    (check,) = Readiness().check_pools([UNUSED])

    assert check == Check("pool:app", ok=False, why="its first server is still being opened")


def test_one_pool_that_could_not_serve_yet_keeps_all_from_being_ready() -> None:
    readiness = Readiness()

    assert not is_ready(readiness.check_pools([WELL, FAILING]))
    assert not is_ready(readiness.check_pools([WELL, UNUSED]))


def test_once_it_could_serve_postgresql_that_goes_is_told_and_decides_nothing() -> None:
    readiness = Readiness()
    readiness.check_pools([WELL])
    (check,) = readiness.check_pools([FAILING])

    assert check == Check("pool:app", ok=False, why="no server can be opened: connection refused", required=False)
    assert is_ready([check])


def test_a_pool_that_a_reload_brings_does_not_take_those_out_that_serve() -> None:
    readiness = Readiness()
    readiness.check_pools([WELL])

    assert is_ready(readiness.check_pools([WELL, pool_snapshot("new", last_error="no such host")]))


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
