"""One connection to PostgreSQL: where it goes, how it is opened, logged in and ended, and how it is made clean.

Owns sockets until they are logged in; then whoever asked owns the `Link`. Knows no pool and no session.

A `Target` says where and as whom, as libpq would be told: settings first, then PG* variables, then files. It is
worked out once, holds every secret, and shows none in its repr.

Opening a link tries the target's endpoints in order, for each its addresses, and for each address what sslmode
allows: *dial* (TCP or Unix socket, then TLS), then *login*. Login is a pure machine: STARTED -> AUTHENTICATED ->
READY, and PostgreSQL decides about each step. Invariants:

- Everything happens within one deadline. Whatever goes wrong, and whenever the caller is cancelled, no socket stays.
- Nothing that came before TLS counts after it.
- An AuthenticationOk counts only if the server has proven what the way of logging in makes it prove: after SCRAM
  its own signature, with channel_binding=require also that nobody sits in between.
- A link is handed over paused, right behind ReadyForQuery: no byte is lost, and none belongs to nobody.

What failures lead to: an address that doesn't answer, or a server that is starting or stopping (57P03), sends the
search to the next address; a server that refuses a login ends it (UpstreamRefused, with PostgreSQL's own SQLSTATE);
one that breaks the protocol is closed (ServerViolation). Nobody here tries again: the pool does that, with backoff.

- `target`: where PostgreSQL is and who we are there.
- `endpoint`: one place where it may be.
- `conninfo`: libpq's connection strings and PG* variables, as keywords.
- `passfile`: ~/.pgpass.
- `certificate`: the hash that channel binding is tied to.
- `tls`: contexts for sslmode and the files that go with it.
- `conversation`: a connection that is read only when asked.
- `dial`: open a socket, and TLS on it.
- `login`: the exchange from the startup packet to ReadyForQuery.
- `link`: the whole of it, and cancelling what runs on a link.
- `reset`: what makes a server clean for the next client.
"""
