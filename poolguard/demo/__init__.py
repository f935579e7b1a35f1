"""PostgreSQL of our own for a while, and the demo that runs on it.

Owns: where server binaries are found, a private cluster that is gone when its owner is gone, and
`poolguard demo`. Nothing that serves clients imports it.

Theory. Whoever wants a PostgreSQL holds an `EmbeddedPostgres`. Everything that it starts is a child of its
*keeper*, a small process in a session of its own that watches a pipe held by the owner. When the pipe closes,
however the owner ended (return, exception, SIGTERM, SIGKILL), the keeper ends its children and removes the
private folder. The keeper is authoritative for pids: it is the parent, so a pid that it signals can't have
been used again. States of an EmbeddedPostgres: new, running, stopped or killed (the data folder stays, `start`
begins again), closed (nothing is left). When the keeper itself was killed, commands fail with
UpstreamUnavailable, and `close` ends its children and removes the folder in its place.

- `binaries`: where PostgreSQL's programs are.
- `commands`: what initdb and postgres are told.
- `identity`: which operating system user the server runs as, and folders that this user can reach.
- `keeper`: the process that outlives its owner just long enough to clean up.
- `kept`: the owner's side of the keeper.
- `ports`: free ports that no outgoing connection takes.
- `postgres`: the cluster.
- `show`: `poolguard demo`, from the stage to the table.
- `acts`: what is played, in order.
- `scene`: the pools, thresholds and names that it is played with.
- `sidecar`: a real `poolguard run` in a process of its own.
- `clients`: the applications, on psycopg.
- `heartbeat`: the lease that is renewed all the while.
- `api`: poolguard's HTTP API.
- `findings`: what was wanted against what was seen.
- `told`: incidents and log lines in a sentence.
- `screen`: lines as they happen, and the table.
"""
