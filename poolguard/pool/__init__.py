"""Pools: named sets of servers, each with its own hard limit, queue, wait limit, mode and policy.

Theory. A server is always in exactly one place: idle, held (by a session, or while it is being reset), or being
opened. idle + held + opening never exceeds the size, except after a reload that shrank the pool, until the
surplus is given back. Waiters are served first come, first served; nobody waits while a server is idle. A server
that is given back goes straight to the first waiter (no gap in which a newcomer could take it); a waiter may
refuse, having given up meanwhile, and then the next one is asked. `PoolState` is authoritative and pure; `Pool`
performs the effects that it returns.

A lane bounds how many transactions that begin with one kind of statement are under way at once. It is entered before a
server is asked for, so whoever waits there holds nothing; it is left when the server is clean again, or gone, so that
what a client left behind still counts. `LaneState` is authoritative and pure; `Lane` calls those whose turn has come.

What a failure leads to: a server that is lost leaves its place at once and, if somebody waits, another is opened;
opening that fails is tried again with growing pauses while waiters keep their places until their own deadlines,
except for failures that time won't heal (wrong password, unknown database): those are told to all who wait.

- `state`: the books (pure).
- `pool`: the shell that opens and closes servers, and owns the timers.
- `lane`: the books of a lane (pure).
- `lanes`: the lanes of a pool, and their timers.
- `registry`: all pools, which session goes to which, and reloads.
- `snapshot`: one pool at one moment, for those who show it.
"""
