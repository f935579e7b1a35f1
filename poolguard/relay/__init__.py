"""The relay: clients' sessions on one side, servers on the other, and the bytes between them.

Theory. A client logs in (`login`) and becomes a Session. Its bytes are walked message by message and forwarded
whole. It holds a server from the first message that needs one to the ReadyForQuery with status `I` that leaves
nothing owed: no reply outstanding, no extended message without its Sync, no COPY. A pin (something that lives in the
server's session, or session mode) keeps the server beyond that. Everything runs in callbacks of one event loop:
what one callback does to session, server, pool and ledger is done before anybody else looks.

Who is authoritative: PostgreSQL for the state of a transaction (only the status byte of ReadyForQuery counts),
`PoolState` for who has which server, the session for what its client has been told. While `Session.block` is set the
client's transaction exists only here: begun but not yet sent (a deferred BEGIN), refused, or ended by the guard.

LISTEN in a pool of mode `transaction` is not left in the server, which is another client's a moment later. Each
pool has one listening server beside its own, opened when first needed; it hears for all. The client's LISTEN still
runs where the client wrote it, so that tags, notices and errors are PostgreSQL's; the same transaction takes it
back and notifies a mark, which tells the listening server, in PostgreSQL's own queue of notifications, that the
LISTEN was committed, and when. It has listened to the channel since before. Other ways were worse: what reads
transactions and savepoints here would guess at commits; a LISTEN left in the pooled server tells each notification
twice. A client at rest is told at once, one in a transaction at its end, one that does not read up to a bound. What
can't be fanned out (LISTEN among other statements of one text, another client_encoding, more than a thousand
channels, no listening server to be had) pins instead.

A session has a pool of its own, and is led to another for single transactions where a route looks at statements. Then
`Session.pool` is the other one until the server is given back: whoever waits, counts or judges finds the pool there.

What a failure leads to: a client that goes leaves a server that is cleaned (cancel, ROLLBACK, DISCARD ALL as
needed) or, where that fails, closed; a server that goes ends its session with one error; nothing is ever sent
twice. A cancel request names a session, goes out only while that session holds a server, and the server goes to
nobody else before PostgreSQL has closed the cancel connection.

- `bound`: sessions that end with a lease. Pure.
- `relay`: the service: listens, knows all sessions, acts for the guard.
- `door`: who may come in, and what a login needs of the relay.
- `login`: a client from its first byte to its session.
- `visitors`: clients that want none of the pools: they are handed to the console.
- `arrivals`: clients that have no session yet, and who gives way to whom.
- `tls`: the certificate that clients are shown, and what theirs says of them.
- `lobby`: what a pool's clients are greeted with, and which of their parameters PostgreSQL accepts.
- `opening`: how servers are opened, and what runs on them cancelled.
- `session`: one client's session: holding, waiting, ending.
- `laned`: one whose transactions may have to wait for each other, by the lanes of its pool.
- `routed`: one whose transactions may run in another pool, by statement routes.
- `waiting`: a session that waits for a server.
- `tally`: how transactions ended.
- `rest`: when a session reads and when it is at rest.
- `talk`: what a client says, when it is not plain.
- `keeping`: what a session leaves in its server: pins.
- `learning`: its search_path, where PostgreSQL does not report it.
- `following`: its run-time parameters, and what a RESET leads back to.
- `state`: everything that is known of one session.
- `hands`: what the guard, an operator or a cancel request does to a session.
- `cancels`: the cancel requests of clients, and how many at once.
- `unread`: clients that do not read what they were sent.
- `passages`: replication connections, each with a server of its own.
- `client_pipe`: the hot path from a client to its server.
- `prepared`: the hot path of statements that a client runs by name.
- `pipe`: the hot path from a server to its client, and what a server owes.
- `guest`: what a server expects of whoever it talks to.
- `extended`: the extended protocol's owed replies and statement names.
- `unnamed`: its unnamed statement.
- `asides`: statements of poolguard's own in a client's batch.
- `forgetting`: statements that a client gives up in SQL.
- `unsure`: names used again before PostgreSQL has answered.
- `statements`: prepared statements, and which server has which.
- `copying`: which Syncs PostgreSQL ignores. Pure.
- `replies`: what poolguard itself has to do with one reply.
- `block`: a transaction block that exists only here.
- `server`: one connection to PostgreSQL between guests.
- `guests`: who has a server while no session has it.
- `notifications`: who listens to which channel.
- `listener`: a pool's listening server.
- `listeners`: those of all pools.
- `listening_server`: its connection to PostgreSQL.
- `listening`: LISTEN of a client on its way to PostgreSQL, and notifications on their way back.
- `parameters`: a session's run-time parameters.
- `retry`: when a statement may be sent a second time. Pure.
- `retrying`: a session that does it.
- `refusal`: what a client is told that waited in vain.
- `counters`: what is counted.
"""
