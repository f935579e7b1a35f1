"""Transactions become readings: every end is there from the start, commits are what remains of the checkouts."""

from poolguard.core.histogram import TRANSACTION_BOUNDS, Histogram
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.metrics.transaction_readings import transaction_readings
from poolguard.relay.tally import Tally, TransactionEnd
from tests.support.snapshots import pool_snapshot


def ends(tally: Tally, checkouts: Histogram) -> dict[str, object]:
    readings: list[Reading] = list(transaction_readings(tally, {}, pool_snapshot(checkout_seconds=checkouts)))
    return {reading.labels[1]: reading.value for reading in readings if reading.metric is c.TRANSACTIONS}


def test_every_end_is_there_before_it_happens() -> None:
    assert ends(Tally(), Histogram(TRANSACTION_BOUNDS)) == dict.fromkeys(TransactionEnd, 0)


def test_what_ended_otherwise_is_no_commit() -> None:
    tally, checkouts = Tally(), Histogram(TRANSACTION_BOUNDS)
    for _ in range(5):
        checkouts.observe(0.1)
    tally.ended["app", TransactionEnd.ROLLBACK] = 2
    tally.checkouts["app"] = 2
    tally.ended["app", TransactionEnd.COMMIT] = 4  # of sessions that kept their server
    assert ends(tally, checkouts) == {"commit": 7, "rollback": 2, "error": 0, "killed": 0, "abandoned": 0}


def test_lengths_and_silences_have_the_buckets_of_transactions() -> None:
    gaps = Histogram(TRANSACTION_BOUNDS)
    gaps.observe(3.0)
    readings = {
        reading.metric: reading.value for reading in transaction_readings(Tally(), {"app": gaps}, pool_snapshot())
    }
    assert readings[c.IDLE_IN_TRANSACTION_SECONDS] is gaps
    assert isinstance(readings[c.TRANSACTION_SECONDS], Histogram)
