"""The relay: clients, deferred BEGINs, pins, and the errors that clients got. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.relay.counters import RelayCounters

LISTED: Final = frozenset(
    (
        "08001", "08006", "08P01", "0A000", "22P02", "23502", "23503", "23505", "23514", "23P01", "25001",
        "25006", "25P01", "25P02", "25P03", "25P04", "26000", "28P01", "3D000", "40001", "40P01", "42501",
        "42601", "42703", "42P01", "42P05", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P03", "XX000",
    )
)  # fmt: skip
"""SQLSTATEs with a series of their own. A statement can raise any code it likes, so the list is closed."""

ALERTED: Final = ("23505", "25P03", "40001", "40P01", "53300", "57014", "57P01")
"""Those that alerts look at: each pool has them from the start, so that `increase()` sees the first one."""

OTHER: Final = "other"

_CLASSES: Final = frozenset(code[:2] for code in LISTED)


def relay_readings(relay: RelayCounters, pools: Sequence[str]) -> Iterator[Reading]:
    """Everything that the relay counts; *pools* are the names of those that there are now."""
    yield Reading(c.CLIENTS_ACCEPTED, (), relay.clients_accepted_total)
    for reason, number in relay.clients_refused_total.items():
        yield Reading(c.CLIENTS_REFUSED, (reason,), number)
    yield Reading(c.CLIENTS_CUT_OFF, (), relay.clients_cut_off_total)
    if relay.certificate_expires_at is not None:
        yield Reading(c.CERTIFICATE_EXPIRES, (), relay.certificate_expires_at)
    yield Reading(c.CANCEL_REQUESTS, (), relay.cancel_requests_total)
    yield Reading(c.DEFERRED_BEGINS, (), relay.deferred_begins_total)
    yield Reading(c.PROTOCOL_VIOLATIONS, (), relay.protocol_violations_total)
    for pool_and_reason, number in relay.pins_total.items():
        yield Reading(c.PINS, pool_and_reason, number)
    for pool in pools:
        yield Reading(c.NOTIFICATIONS, (pool,), relay.notifications_total[pool])
        yield Reading(c.NOTIFICATIONS_DROPPED, (pool,), relay.notifications_dropped_total[pool])
        yield Reading(c.NOTIFICATION_GAPS, (pool,), relay.notification_gaps_total[pool])
    for pool_code_and_outcome, number in relay.retries_total.items():
        yield Reading(c.STATEMENT_RETRIES, pool_code_and_outcome, number)
    errors = Counter({(pool, *error_labels(sqlstate)): 0 for pool in pools for sqlstate in ALERTED})
    for (pool, sqlstate), number in relay.errors_total.items():
        errors[(pool, *error_labels(sqlstate))] += number
    for labels, number in errors.items():
        yield Reading(c.SQL_ERRORS, labels, number)


def error_labels(sqlstate: str) -> tuple[str, str]:
    """Class and code as label values: `("40", "40P01")`, `("22", "other")`, `("other", "other")`."""
    if sqlstate in LISTED:
        return sqlstate[:2], sqlstate
    return (sqlstate[:2] if sqlstate[:2] in _CLASSES else OTHER), OTHER
