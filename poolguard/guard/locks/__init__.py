"""Who waits for whose lock: read from PostgreSQL through one connection of its own, kept, and shown.

Theory. PostgreSQL is authoritative; what is here is a photograph. Every `interval` one cheap question (who waits for a
lock?) decides whether the graph is collected: somebody waits, and has waited at the last poll too, or a statement of
ours runs for more than a second. Few waiters are asked about one by one (pg_blocking_pids knows the order of the
queue); for many, pg_locks is read once and the conflicts are worked out here. A collection that was expensive is
followed by a longer pause. A root blocks and does not wait; who waits in a cycle has no root, and PostgreSQL's own
deadlock detector ends it. Backends of ours are recognised by pid, unless another pooler stands in between.

- Without privileges the waits of the own role are seen, and pids of all blockers; pg_read_all_stats shows what foreign
  ones do, pg_signal_backend lets an explicit rule end them. The tier is found at each connect and published.
- If the connection is lost the graph is empty, and everything else goes on.
- One connection at most, statements of at most 250 ms, reads only; what it may read is bounded.

Modules:

- `backends`: a backend, a wait, a node.
- `queries`: the SQL.
- `reading`: rows to waits and backends.
- `conflicts`: blockers out of one reading of pg_locks.
- `graph`: waits to trees and cycles.
- `roots`: what kind of trouble a root is.
- `pace`: when to look.
- `history`: the latest trees.
- `state`: the latest graph, and what follows from it.
- `tell`: text and JSON.
- `observer`: the connection.
"""
