"""The relay: clients' sessions on one side, servers on the other, and the bytes between them.

Theory. A client logs in (`login`) and becomes a Session. Its bytes are walked message by message and forwarded
whole. It holds a server from the first message that needs one to the ReadyForQuery with status `I` that leaves
nothing owed: no reply outstanding, no extended message without its Sync, no COPY. A pin (something that lives in the
server's session, or session mode) keeps the server beyond that. Everything runs in callbacks of one event loop:
what one callback does to session, server, pool and ledger is done before anybody else looks.

Who is authoritative: PostgreSQL for the state of a transaction (only the status byte of ReadyForQuery counts),
`PoolState` for who has which server, the session for what its client has been told. While `Session.block` is set the
client's transaction exists only here: begun but not yet sent (a deferred BEGIN), refused, or ended by the guard.

What a failure leads to: a client that goes leaves a server that is cleaned (cancel, ROLLBACK, DISCARD ALL as
needed) or, where that fails, closed; a server that goes ends its session with one error; nothing is ever sent
twice. A cancel request names a session, goes out only while that session holds a server, and the server goes to
nobody else before PostgreSQL has closed the cancel connection.

- `bound`: sessions that end with a lease. Pure.
- `relay`: the service: listens, knows all sessions, acts for the guard.
- `login`: a client from its first byte to its session.
- `arrivals`: clients that have no session yet, and who gives way to whom.
- `tls`: the certificate that clients are shown, and what theirs says of them.
- `lobby`: what a pool's clients are greeted with, and which of their parameters PostgreSQL accepts.
- `session`: one client's session: holding, waiting, ending.
- `waiting`: a session that waits for a server.
- `talk`: what a client says, when it is not plain.
- `keeping`: what a session leaves in its server: pins, parameters.
- `state`: everything that is known of one session.
- `hands`: what the guard, an operator or a cancel request does to a session.
- `cancels`: the cancel requests of clients, and how many at once.
- `unread`: clients that do not read what they were sent.
- `passages`: replication connections, each with a server of its own.
- `client_pipe`: the hot path from a client to its server.
- `pipe`: the hot path from a server to its client, and what a server owes.
- `guest`: what a server expects of whoever it talks to.
- `extended`: the extended protocol's owed replies and statement names.
- `statements`: prepared statements, and which server has which.
- `replies`: what poolguard itself has to do with one reply.
- `block`: a transaction block that exists only here.
- `server`: one connection to PostgreSQL between guests.
- `guests`: who has a server while no session has it.
- `parameters`: a session's run-time parameters.
- `refusal`: what a client is told that waited in vain.
- `counters`: what is counted.
"""
