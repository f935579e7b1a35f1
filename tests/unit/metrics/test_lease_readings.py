"""The leases' counters become readings, with a bound on names."""

import pytest

from poolguard.lease import counters
from poolguard.lease.counters import LeaseCounters, LeaseView, LostReason, RenewFailure
from poolguard.metrics import catalogue as c
from poolguard.metrics.catalogue import Metric
from poolguard.metrics.lease_readings import LEASE_NAMES, lease_readings


def view(name: str, *, held: bool = True) -> LeaseView:
    return LeaseView(
        name=name,
        held=held,
        token=7,
        transitions=3,
        valid_for_seconds=9.5 if held else 0.0,
        last_renew_age_seconds=1.5,
    )


def told(metric: Metric, leases: LeaseCounters) -> dict[tuple[str, ...], object]:
    return {reading.labels: reading.value for reading in lease_readings(leases) if reading.metric is metric}


def test_a_lease_that_is_no_longer_trusted_is_told_as_not_held() -> None:
    leases = LeaseCounters(lambda: [view("mine"), view("lost", held=False)])

    assert told(c.LEASE_HELD, leases) == {("mine",): 1, ("lost",): 0}
    assert told(c.LEADER_STATUS, leases) == told(c.LEASE_HELD, leases)
    assert told(c.LEASE_VALID_FOR, leases) == {("mine",): 9.5, ("lost",): 0.0}
    assert told(c.LEASE_TOKEN, leases)["mine",] == 7


def test_names_above_the_bound_get_no_series_and_are_counted() -> None:
    leases = LeaseCounters(lambda: [view(f"lease-{number:04}") for number in range(LEASE_NAMES + 5)])

    assert len(told(c.LEASE_HELD, leases)) == LEASE_NAMES
    assert told(c.LEASE_NAMES_LEFT_OUT, leases) == {(): 5}


def test_every_reason_is_there_before_it_happens() -> None:
    leases = LeaseCounters(list)
    leases.lost[LostReason.LAPSED] = 2

    assert told(c.LEASES_LOST, leases) == {
        (reason.value,): 2 if reason is LostReason.LAPSED else 0 for reason in LostReason
    }
    assert set(told(c.LEASE_RENEW_FAILURES, leases)) == {(reason.value,) for reason in RenewFailure}


def test_campaigns_and_the_store_are_told() -> None:
    leases = LeaseCounters(lambda: [view("mine")])
    leases.no_verdict("mine")
    leases.campaigns["leading"] = 2
    leases.campaigns_ended["unproven"] = 3
    leases.store_up, leases.timeline = lambda: True, lambda: 4
    assert told(c.LEASE_SLOW, leases) == {("mine",): 1}
    assert told(c.CAMPAIGNS, leases) == {("waiting",): 0, ("leading",): 2}
    assert told(c.CAMPAIGNS_ENDED, leases) == {("withdrawn",): 0, ("unproven",): 3, ("stopping",): 0}
    assert told(c.LEASE_STORE_ANSWERS, leases) == {(): 1}
    assert told(c.LEASE_TIMELINE, leases) == {(): 4}


def test_the_names_that_are_counted_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MAX_COUNTED_NAMES", 1)
    leases = LeaseCounters(list)
    for name in ("a", "b", "a"):
        leases.no_verdict(name)
    assert leases.renewals_without_verdict == {"a": 2}
