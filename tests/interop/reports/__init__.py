"""Five reports from other people's trackers, each played by a script of its own: what happens, what poolguard says, what helps.

`make reports` plays all of them, `make reports ARGS=elections` one; `test_reports` does so in `make interop`. A script brings
its settings (NAME.yaml beside it, as an operator would write them) and its application (below `node`, `php` and `go`:
Prisma, Laravel's queue and River themselves, not imitations), makes its tables in a database of its own, shows the report
without the cure, quotes what poolguard says of it, and then shows the cure. It waits for events, ends by itself, claims
what it saw in a table, and its exit code says whether all of that was so.

- `deadlocks`: a storm of 40P01 between Prisma's event handlers.
- `full_pool`: Prisma's pool runs out (P2024 of old), and messages are lost.
- `duplicate_keys`: 23505 on session_pkey, several a minute.
- `job_queue`: Laravel's database queue with sixteen workers.
- `elections`: River finds no leader: context deadline exceeded.

`stage` has PostgreSQL, poolguard and the story, `application` a process that tells what happens to it.
"""
