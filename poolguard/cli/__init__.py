"""The command line: reads arguments, calls what does the work, turns what comes of it into text and an exit code.

Decides nothing else. Every command imports what it needs inside of its own function, so that `poolguard run` holds
neither the demo nor the schema in memory, and `poolguard --version` answers at once. Results go to standard output,
errors to standard error. A PoolguardError that reaches `main` is shown by its message, without a stack trace: it says
what to do. Exit codes are in `exits`.

- `main`: arguments to a command; the entry point.
- `exits`: what each exit code means.
- `sources`: which settings file is meant, and its settings.
- `run`: the daemon, also on an embedded PostgreSQL.
- `check_config`: every problem of a settings file, or what it amounts to.
- `summary`: settings in a few lines, for people.
- `print_schema`: JSON Schema, reference table, DDL of the leases.
- `health`: whether a running poolguard is ready.
- `demo`: the demonstration.
- `ps`: what holds servers now.
- `kill`: one transaction ended by hand.
- `policy`: what rules say of a snapshot, or of a live transaction.
- `control`: requests to the control listener.
- `tables`: tables for people.
- `lease`: leases as an operator sees them.
- `lease_run`: a command that runs while a lease is held.
"""
