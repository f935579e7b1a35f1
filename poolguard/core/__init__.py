"""What every package may use: ids, errors, units, and the clock as a protocol.

Pure: no I/O, no clock reading, no logging. Imports nothing else of poolguard's.

- `ids`: numbers that name sessions, servers and transactions.
- `errors`: every failure that reaches a client or an HTTP caller, with its SQLSTATE and HTTP status.
- `by_text`: what is worked out of a text, remembered.
- `clock`: the protocol through which time comes in.
- `histogram`: counts by upper bound, cheap to feed.
- `loopback`: which addresses only this machine can reach.
- `secret`: secrets compared.
- `units`: durations and sizes, as people write them.
"""
