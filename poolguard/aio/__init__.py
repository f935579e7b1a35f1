"""What every part that runs on the event loop shares: the clock, owned tasks, the start/drain/stop contract.

Knows nothing of PostgreSQL, pools or settings.

- `alarm`: sleep that an event may cut short.
- `clock`: the system's clocks.
- `service`: the start/drain/stop contract that the daemon drives.
- `tasks`: tasks that have an owner, a name and an end.
- `tls`: TLS over a transport that is already open.
"""
