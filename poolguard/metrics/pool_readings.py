"""Pools, and the sessions and transactions in them. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.pool.snapshot import CloseReason, PoolSnapshot

HOLDING: Final = (
    Phase.ACTIVE,
    Phase.IDLE_IN_TRANSACTION,
    Phase.FAILED_TRANSACTION,
    Phase.PINNED,
)
"""The phases in which a session holds a server."""

NO_POOL: Final = ""
"""The pool of a session that has not logged in. Prometheus treats an empty label as an absent one."""


def phase_label(phase: Phase) -> str:
    """The phase as a label value, such as `idle_in_transaction`: its text is for people."""
    return phase.name.lower()


def pool_readings(pool: PoolSnapshot) -> Iterator[Reading]:
    """Everything that one pool's snapshot tells."""
    name = (pool.name,)
    yield Reading(c.POOL_INFO, (pool.name, pool.mode, pool.policy), 1)
    yield Reading(c.POOL_SIZE_LIMIT, name, pool.size)
    yield Reading(c.POOL_WAITING_LIMIT, name, pool.max_waiting)
    for state, number in (("idle", pool.idle), ("held", pool.held), ("opening", pool.opening)):
        yield Reading(c.SERVER_CONNECTIONS, (pool.name, state), number)
    yield Reading(c.PINNED_SERVERS, name, pool.pinned)
    yield Reading(c.CLIENTS_WAITING, name, pool.waiting)
    yield Reading(c.OLDEST_WAIT, name, pool.oldest_wait_seconds)
    yield Reading(c.WAIT_SECONDS, name, pool.wait_seconds)
    yield Reading(c.WAIT_TIMEOUTS, name, pool.wait_timeouts_total)
    yield Reading(c.QUEUE_FULL, name, pool.queue_full_total)
    yield Reading(c.CHECKOUTS, name, pool.checkouts_total)
    yield Reading(c.CHECKOUT_SECONDS, name, pool.checkout_seconds)
    yield Reading(c.SERVER_CONNECTS, (pool.name, "opened"), pool.opened_total)
    yield Reading(c.SERVER_CONNECTS, (pool.name, "failed"), pool.open_failures_total)
    for reason in CloseReason:
        yield Reading(c.SERVER_DISCONNECTS, (pool.name, reason.value), pool.closed_total.get(reason, 0))
    yield Reading(c.SERVER_RETRY, name, pool.retry_in_seconds)
    for lane in pool.lanes:
        labels = (pool.name, lane.name, lane.mode)
        yield Reading(c.LANE_WAITING, labels, lane.waiting)
        yield Reading(c.LANE_IN_FLIGHT, labels, lane.in_flight)
        yield Reading(c.LANE_WAIT_SECONDS, labels, lane.wait_seconds)
        for refusal, number in lane.rejections_total.items():
            yield Reading(c.LANE_REJECTIONS, (*labels, refusal), number)


def ledger_readings(ledger: Ledger, pools: Sequence[PoolSnapshot], now: float) -> Iterator[Reading]:
    """Sessions by phase, and who holds servers for how long, for each of *pools*.

    A session whose pool is gone since a reload is counted with those that have none.
    """
    names = [pool.name for pool in pools]
    known = set(names)
    sessions = Counter((entry.pool, entry.phase) for entry in ledger.sessions.values())
    homeless = Counter[Phase]()
    for (pool, phase), number in sessions.items():
        if pool not in known:
            homeless[phase] += number
    listening = Counter(entry.pool for entry in ledger.sessions.values() if entry.channels)
    for name in names:
        yield Reading(c.LISTENING_CLIENTS, (name,), listening[name])
    for phase in Phase:
        yield Reading(c.CLIENT_CONNECTIONS, (NO_POOL, phase_label(phase)), homeless[phase])
        for name in names:
            yield Reading(c.CLIENT_CONNECTIONS, (name, phase_label(phase)), sessions[name, phase])
    yield from _holders(ledger, names, now)


def _holders(ledger: Ledger, names: Sequence[str], now: float) -> Iterator[Reading]:
    number = Counter[tuple[str, Phase]]()
    began: dict[tuple[str, Phase], float] = {}
    entered: dict[tuple[str, Phase], float] = {}
    for entry in ledger.holders.values():
        key = entry.pool, entry.phase
        number[key] += 1
        began[key] = min(began.get(key, now), entry.began_at)
        entered[key] = min(entered.get(key, now), entry.phase_since)
    for name in names:
        for phase in HOLDING:
            key, labels = (name, phase), (name, phase_label(phase))
            yield Reading(c.OPEN_TRANSACTIONS, labels, number[key])
            yield Reading(c.OLDEST_TRANSACTION, labels, now - began.get(key, now))
            yield Reading(c.LONGEST_IN_PHASE, labels, now - entered.get(key, now))
