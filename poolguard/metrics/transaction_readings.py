"""How transactions ended, how long they were open, and how long clients said nothing inside of them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from poolguard.core.histogram import TRANSACTION_BOUNDS, Histogram
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.relay.tally import Tally, TransactionEnd

_NONE: Final = Histogram(TRANSACTION_BOUNDS)


def transaction_readings(tally: Tally, gaps: Mapping[str, Histogram], pool: PoolSnapshot) -> Iterator[Reading]:
    """Of one pool. *gaps* by pool."""
    committed = tally.committed(pool.name, pool.checkout_seconds.count)
    for end in TransactionEnd:
        number = committed if end is TransactionEnd.COMMIT else tally.ended[pool.name, end]
        yield Reading(c.TRANSACTIONS, (pool.name, end.value), number)
    yield Reading(c.TRANSACTION_SECONDS, (pool.name,), tally.seconds.get(pool.name, _NONE))
    yield Reading(c.IDLE_IN_TRANSACTION_SECONDS, (pool.name,), gaps.get(pool.name, _NONE))
