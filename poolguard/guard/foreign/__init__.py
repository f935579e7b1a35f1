"""Lock holders that are not poolguard's: ended only by an explicit rule, and only while sessions of ours wait for them.

Theory. After each look of the observer the roots of the lock graph are judged by `foreign_blockers`, with the rules,
budget and ladders that own transactions have. PostgreSQL is authoritative for who the victim is: one statement checks
that process, transaction and state are still what was judged, and signals (`locks.queries`). No row: it has moved on,
and nothing was done. A signal that was sent is DONE only when the backend is seen to have obeyed.

- Off until a rule is written; a rule must name whom it is about, and counts only sessions of ours that wait.
- Never: superusers' backends, other types than `client backend`, poolguard's own, commits that wait for a standby,
  prepared transactions (the graph names their gid), work of the never-kill list as far as pg_stat_activity shows it.
- Behind another pooler nothing is done: there pids tell neither what is ours nor what would be hit.
- pg_signal_backend is needed, and pg_read_all_stats to see what others do; without them the outcome is NO_PRIVILEGE.
- Ages are PostgreSQL's at the first sight of a transaction, our clock's from then on: no clocks are compared.

Modules:

- `suspects`: roots to what rules can judge.
- `untouchable`: what no rule may end.
- `report`: incidents of them.
- `watch`: judges after each look, and acts.
"""
