"""Prometheus metrics: what is measured, how it is read, and how it is written out.

Owns the names. Nothing here runs on the hot path: whoever does the work counts, in plain attributes and in
histograms from `core.histogram`; a scrape reads them. So a gauge can't drift from what it shows, and a metric
costs nothing while nobody looks. Who counts is authoritative; this package only translates.

Label values come from settings or enums, never from a client, so settings bound the number of series. There are
a few exceptions, all capped: names of leases (`lease_readings.LEASE_NAMES`), SQLSTATEs (a fixed list, the rest
is `other`), fingerprints of deadlocks and names of constraints (`guard.errors`),
names of applications (`client_readings.NAMES`). A source that is absent (leases
switched off) leaves its metrics out.

A scrape is cut in slices, between which the event loop turns: however many pools there are, the relay waits for
one slice at most. The price is that two families of one scrape may be some milliseconds apart.

- `catalogue`: every metric in one table.
- `sources`: what a scrape reads.
- `reading`: one value of one metric.
- `pool_readings`: pools, and sessions and transactions in them. Pure.
- `relay_readings`: clients, pins, errors. Pure.
- `guard_readings`: matches, actions, budget, sweeps. Pure.
- `client_readings`: full pools and lost slots of applications. Pure.
- `error_readings`: deadlocks and duplicate keys. Pure.
- `lock_readings`: the lock graph. Pure.
- `lease_readings`: terms, renewals, losses. Pure.
- `process`: this process, out of the operating system.
- `collector`: readings to prometheus_client's families, and those to text. The only importer of it.
- `transaction_readings`: how transactions ended, and how long they took. Pure.
- `watchdog`: what blocks the event loop, and where in the code.
- `loop_lag`: a service that measures how late the event loop is.
- `reference`: docs/metrics.md, out of the catalogue.
"""
