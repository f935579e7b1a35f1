"""The admin console: `psql -p 6432 -d poolguard`, for whoever has no more at hand than a PostgreSQL client.

Theory. A client that logs in to the database `poolguard` becomes no session: the relay hands its connection over
(`relay.visitors`), and from then on it belongs to a Visit. It holds no server, is in no pool and in no list of
sessions, and doesn't count towards `limits.max_clients`: the console answers when nothing else does. It has a bound of
its own, and whoever has been silent longest makes room, so that forgotten consoles keep nobody out.

Whatever a driver does around a statement works: the simple and the extended protocol, text and binary results, cursors,
prepared statements, and BEGIN, COMMIT, SET and their like, which are answered and change nothing. What is shown is what
the HTTP API shows, from the same sources; statements are fingerprints, without literals.

- `statements`: what may be said, and what it means. Pure.
- `tables`: columns and rows of each answer. Pure.
- `encoding`: rows as PostgreSQL's messages, in text and binary. Pure.
- `requests`: the extended protocol's messages, read. Pure.
- `permission`: who may end transactions. Pure.
- `sources`: what is read and called, as the daemon wires it.
- `answers`: from a command to its table.
- `talk`: one conversation: messages in, messages out.
- `visit`: its connection.
- `console`: all visits, as a service.
"""
