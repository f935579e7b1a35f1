"""What the guard costs, with a verdict: `make guard-cost`, or `python -m tests.guard_cost --help`.

- `busy`: its sweeps while forty servers are busy, as a share of a core.
- `crowd`: the lock graph of two hundred waiters: PostgreSQL's time for it, and how long the loop stands still.
"""
