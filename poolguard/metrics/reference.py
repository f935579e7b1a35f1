"""docs/metrics.md, out of the catalogue: `python -m poolguard.metrics.reference > docs/metrics.md`."""

import sys

from poolguard.core.histogram import TRANSACTION_BOUNDS, WAIT_BOUNDS
from poolguard.guard.counters import SWEEP_BOUNDS
from poolguard.metrics.catalogue import CATALOGUE, Metric

_HEAD = """\
# Metrics

`GET /metrics` on the metrics listener (port 9127 unless the settings say otherwise), in the classic text format,
or in OpenMetrics where the scraper asks for it. This page is made from `poolguard/metrics/catalogue.py`; a test
compares them. After a change there: `python -m poolguard.metrics.reference > docs/metrics.md`.

Units are seconds and bytes. Names of pools and policies come from the settings, all other label values from fixed
lists, with capped exceptions: the first 100 leases by name have gauges of their own (`poolguard_lease_names_left_out`
tells how many have not); SQLSTATEs that are not listed, and pairs, constraints and applications past a number, count as
`other`.
A session that has not logged in has an empty `pool`. Lease metrics are left out when leases are switched off,
process metrics where the operating system doesn't tell them.

| metric | kind | labels | what it tells |
|---|---|---|---|
"""

_FOOT = """
Buckets in seconds:

- waits, renewals, loop lag: {waits}
- checkouts: {checkouts}
- sweeps of the guard: {sweeps}

## Questions, and what answers them

- How full is a pool?
  `poolguard_server_connections{state="held"} / on(pool) poolguard_pool_size_limit`
- Does anybody wait, and how long? `poolguard_clients_waiting`, `poolguard_oldest_wait_seconds`
- 99th percentile of waits:
  `histogram_quantile(0.99, sum by (le, pool) (rate(poolguard_wait_seconds_bucket[5m])))`
- Who sits on servers without using them? `poolguard_open_transactions{phase="idle_in_transaction"}`
- For how long? `poolguard_longest_in_phase_seconds{phase="idle_in_transaction"}`
- What did the guard end? `increase(poolguard_policy_actions_total{action!="warn"}[15m])`
- Did an action fail? `increase(poolguard_policy_actions_total{outcome="failed"}[15m]) > 0`
- Deadlocks: `increase(poolguard_sql_errors_total{sqlstate="40P01"}[5m])`
- Two leaders, or none? `sum by (name) (poolguard_lease_held) != 1`
- Does something block the loop?
  `histogram_quantile(0.99, rate(poolguard_loop_lag_seconds_bucket[5m])) > 0.005`
- Was a reload refused? `increase(poolguard_reloads_total{result="refused"}[1h]) > 0`
"""


def page() -> str:
    """The whole page."""
    rows = "".join(_row(metric) for metric in CATALOGUE)
    foot = _FOOT.replace("{waits}", _bounds(WAIT_BOUNDS))
    foot = foot.replace("{checkouts}", _bounds(TRANSACTION_BOUNDS)).replace("{sweeps}", _bounds(SWEEP_BOUNDS))
    return _HEAD + rows + foot


def _bounds(bounds: tuple[float, ...]) -> str:
    return " ".join(f"{bound:g}" for bound in bounds)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
