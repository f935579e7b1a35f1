"""Long runs of leases, each with a verdict: `make lease-soak`, or `python -m tests.soak --help`.

- `stage`: PostgreSQL, sidecars behind networks that can be broken, contenders.
- `trouble`: faults, chosen at random, and how each is healed.
- `faults`: contenders under trouble; the history is judged by the invariants.
- `saturation`: renewals with every pool exhausted, beside an elector that shares the application's pool.
- `thousand`: a thousand leases while a transaction stays open elsewhere.
- `crowd`, `shared`: whoever exhausts the pools; the elector that starves.
- `races`: renewals against takeovers in the moment of expiry.
- `handover`: how long a name is without a leader.
- `noise`: what the machine itself adds to a round trip.
- `verdict`: what was found, as text and JSON.
"""
