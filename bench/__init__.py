"""What poolguard costs, beside PgBouncer and no pooler at all, on one machine in one run.

Contenders (direct, pgbouncer, poolguard) stand in front of the same embedded PostgreSQL and take turns
(A B C, B C A, C A B), so that whatever else the machine does hits all of them. Each figure is the median of the rounds,
each ratio the median of what the rounds gave for it.
Numbers compare only within one run. Timings are never tests; parsing and arithmetic are (tests/unit/bench).

- `__main__`: the command.
- `workloads`: what is run.
- `contenders`: the three of them.
- `pgbench`: running it and reading its output.
- `psql`: the same for COPY, which pgbench can't.
- `processes`: what a process uses and may, and its start and end.
- `memory`: idle clients.
- `leases`: renewals while poolguard is idle, loaded and exhausted.
- `figures`: percentiles, medians, ratios.
- `report`: the table and the JSON.
"""
