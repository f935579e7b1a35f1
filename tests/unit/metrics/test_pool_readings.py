"""Snapshots and the ledger become readings."""

from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase
from poolguard.metrics import catalogue as c
from poolguard.metrics.catalogue import Metric
from poolguard.metrics.pool_readings import HOLDING, ledger_readings, phase_label, pool_readings
from poolguard.pool.snapshot import CloseReason, PoolSnapshot
from tests.support.snapshots import holder, lane_snapshot, pool_snapshot, session

NOW = 1000.0


def of_pool(metric: Metric, pool: PoolSnapshot) -> dict[tuple[str, ...], object]:
    return {reading.labels: reading.value for reading in pool_readings(pool) if reading.metric is metric}


def of_ledger(metric: Metric, ledger: Ledger, *pools: str) -> dict[tuple[str, ...], object]:
    snapshots = [pool_snapshot(name) for name in pools]
    readings = ledger_readings(ledger, snapshots, NOW)
    return {reading.labels: reading.value for reading in readings if reading.metric is metric}


def test_servers_are_told_by_state() -> None:
    pool = pool_snapshot(idle=1, held=2, opening=3)

    assert of_pool(c.SERVER_CONNECTIONS, pool) == {
        ("app", "idle"): 1,
        ("app", "held"): 2,
        ("app", "opening"): 3,
    }


def test_every_close_reason_is_there_before_it_happens() -> None:
    told = of_pool(c.SERVER_DISCONNECTS, pool_snapshot(closed_total={CloseReason.LOST: 4}))

    assert told == {("app", reason.value): 4 if reason is CloseReason.LOST else 0 for reason in CloseReason}


def test_openings_are_told_by_outcome() -> None:
    pool = pool_snapshot(opened_total=5, open_failures_total=2)

    assert of_pool(c.SERVER_CONNECTS, pool) == {("app", "opened"): 5, ("app", "failed"): 2}


def test_lanes_are_told_by_name_and_mode() -> None:
    lane = lane_snapshot(mode="observe", waiting=2, in_flight=4, rejections_total={"timeout": 1, "queue_full": 0})
    pool = pool_snapshot(lanes=(lane,))
    labels = ("app", "job-pop", "observe")

    assert of_pool(c.LANE_WAITING, pool) == {labels: 2}
    assert of_pool(c.LANE_IN_FLIGHT, pool) == {labels: 4}
    assert of_pool(c.LANE_WAIT_SECONDS, pool) == {labels: lane.wait_seconds}
    assert of_pool(c.LANE_REJECTIONS, pool) == {(*labels, "timeout"): 1, (*labels, "queue_full"): 0}


def test_sessions_are_counted_by_pool_and_phase_with_zeros() -> None:
    ledger = Ledger()
    session(ledger, pool="app", phase=Phase.WAITING)
    session(ledger, pool="app", phase=Phase.WAITING)
    session(ledger, pool="jobs", phase=Phase.IDLE)

    told = of_ledger(c.CLIENT_CONNECTIONS, ledger, "app", "jobs")

    assert {labels: number for labels, number in told.items() if number} == {
        ("app", "waiting"): 2,
        ("jobs", "idle"): 1,
    }
    assert len(told) == 3 * len(Phase)


def test_a_session_without_a_pool_or_with_one_that_is_gone_counts_under_the_empty_pool() -> None:
    ledger = Ledger()
    session(ledger, pool="", phase=Phase.LOGIN)
    session(ledger, pool="removed by a reload", phase=Phase.IDLE)

    told = of_ledger(c.CLIENT_CONNECTIONS, ledger, "app")

    assert told["", "login"] == 1
    assert told["", "idle"] == 1
    assert {pool for pool, _ in told} == {"", "app"}


def test_the_oldest_transaction_of_each_phase_is_told_with_its_age() -> None:
    ledger = Ledger()
    holder(ledger, began_at=990.0, phase_since=999.0)
    holder(ledger, began_at=995.0, phase_since=996.0)
    holder(ledger, phase=Phase.ACTIVE, began_at=900.0, phase_since=900.0)

    oldest = of_ledger(c.OLDEST_TRANSACTION, ledger, "app")
    longest = of_ledger(c.LONGEST_IN_PHASE, ledger, "app")

    assert oldest["app", "idle_in_transaction"] == 10.0
    assert longest["app", "idle_in_transaction"] == 4.0
    assert oldest["app", "active"] == longest["app", "active"] == 100.0
    assert oldest["app", "pinned"] == 0.0
    assert of_ledger(c.OPEN_TRANSACTIONS, ledger, "app")["app", "idle_in_transaction"] == 2


def test_labels_of_phases_are_words_for_queries() -> None:
    assert [phase_label(phase) for phase in HOLDING] == [
        "active",
        "idle_in_transaction",
        "failed_transaction",
        "pinned",
    ]
