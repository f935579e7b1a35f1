"""The ledger: what every session, transaction and waiter is doing right now.

The relay is the only writer and writes plain attributes (this is its hot path). Guard, metrics, web and console
read; they take `facts` snapshots and never keep an entry across an await. Pure: no I/O, no clock.

Invariants: a session is in `Ledger.holders` exactly while it holds a server; `checkout` only grows, so a
TransactionId names one checkout for ever; times are on the monotonic clock.

- `entries`: one mutable line per session.
- `book`: all lines, by session and by holder.
- `facts`: frozen snapshots for those who judge or show.
- `hands`: how whoever judges acts on a transaction.
"""
