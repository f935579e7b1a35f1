"""The daemon: everything put together, started in order, reloaded, drained and stopped.

Theory. This is the only package that knows all the others. Parts are Services (aio/service.py); they start in the
order leases, loop lag, observer, relay, guard, web, and end in the reverse. Leases come first and go last: whatever
happens to the pools, they hold their connections. A part that can't start ends the daemon with a message that says
why; a task that fails later is logged, and poolguard goes on, unless the failure was the end of a part that others
rely on.

On SIGTERM: /readyz turns false, no new client is taken, idle sessions are ended, transactions may finish until
`limits.drain_timeout`; then everything stops. A second signal stops at once. On SIGHUP, or when the settings file
changes: what can change live does, pools whose PostgreSQL changed are drained; a bad file changes nothing and says so.
Signals are heard from the first moment: one to stop ends a start that waits for PostgreSQL, SIGHUP waits for its end.

- `main`: the process: loop, signals, exit code.
- `house`: the parts, wired to each other.
- `services`: start in order, end in reverse.
- `targets`: where each pool's PostgreSQL is.
- `doors`: who may log in, as the relay wants it.
- `reload`: new settings into a running house.
- `heap`: memory that passing chunks leave to the next.
- `logs`: JSON lines, written by a thread of their own.
"""
