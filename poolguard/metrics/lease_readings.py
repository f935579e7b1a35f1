"""Leases: terms held here, renewals, losses. Pure."""

from collections.abc import Iterator
from typing import Final

from poolguard.lease.counters import LeaseCounters
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading

LEASE_NAMES: Final = 100
"""Leases that get series of their own. Applications choose the names, so the number must be bounded here."""


def lease_readings(leases: LeaseCounters) -> Iterator[Reading]:
    """Everything that the leases count; the first LEASE_NAMES by name have gauges of their own."""
    states = sorted(leases.held(), key=lambda state: state.name)
    for state in states[:LEASE_NAMES]:
        name = (state.name,)
        yield Reading(c.LEASE_HELD, name, int(state.held))
        yield Reading(c.LEADER_STATUS, name, int(state.held))
        yield Reading(c.LEASE_TRANSITIONS, name, state.transitions)
        yield Reading(c.LEASE_TOKEN, name, state.token)
        yield Reading(c.LEASE_VALID_FOR, name, state.valid_for_seconds)
        yield Reading(c.LEASE_RENEW_AGE, name, state.last_renew_age_seconds)
        yield Reading(c.LEASE_SLOW, name, leases.renewals_without_verdict[state.name])
    yield Reading(c.LEASE_NAMES_LEFT_OUT, (), max(0, len(states) - LEASE_NAMES))
    yield Reading(c.LEASES_ACQUIRED, (), leases.acquired)
    yield Reading(c.LEASE_RENEW_SECONDS, (), leases.renew_seconds)
    yield Reading(c.LEASE_ACQUIRE_WAIT, (), leases.acquire_wait_seconds)
    for phase, number in leases.campaigns.items():
        yield Reading(c.CAMPAIGNS, (phase,), number)
    for reason, number in leases.campaigns_ended.items():
        yield Reading(c.CAMPAIGNS_ENDED, (reason,), number)
    yield Reading(c.LEASE_STORE_ANSWERS, (), int(leases.store_up()))
    yield Reading(c.LEASE_TIMELINE, (), leases.timeline())
    for failure, number in leases.renew_failures.items():
        yield Reading(c.LEASE_RENEW_FAILURES, (failure.value,), number)
    yield Reading(c.LEASES_RELEASED, (), leases.released)
    yield Reading(c.LEASE_CONFLICTS, (), leases.conflicts)
    for lost, number in leases.lost.items():
        yield Reading(c.LEASES_LOST, (lost.value,), number)
