"""Leases: the right to lead under a name, held for a while, on connections that no pool shares.

Owns the lease table, the few connections to it, and what this process believes. Knows nothing of HTTP, pools or
sessions; it goes on when every pool is exhausted.

**Who is authoritative.** PostgreSQL, by its own clock, and it alone: no other clock is ever compared. A term is one
unbroken holding of a name; its token is above every earlier one of that name and is what a resource can check. Tokens
come from a sequence, with the WAL timeline above bit 32, so that neither a deleted row nor a failover to a standby
that lags lets one come again.

**A name in PostgreSQL** is free (no holder, or its time is over) or held:

    free --acquire--> held          a new token; the row's lock waits for transactions fenced by the old one
    held --renew----> held          exactly (name, holder, token), and only while its time runs
    held --release--> free          the row stays, and its token with it; after a step-down some must wait
    held --time-----> free          nothing is written
    held --failover-> held          once for each new timeline: the last renewals may be missing on the new writer

**What this process believes** (`book`) is always less than that: trust ends a margin before the term would, counted
from when the request that confirmed it was *sent*. Invariants:

- At most one term of a name runs; tokens only grow; the same wish (requestId) gets one term, never two.
- Beliefs in two terms of one name never overlap, on clocks that run at about the same rate.
- `/leader` answers 200 only inside a belief. A renewal never revives a term that is over.
- A losing acquire writes nothing (but for that one time after a failover).

**What each failure leads to.**

- No answer: the outcome is *unknown*. The connection is closed and the same request sent on the spare one; what is
  sent twice takes effect once. Trust is neither extended nor ended: it runs out by itself.
- PostgreSQL away, read-only or restarting: *unavailable*; connections are opened again in the background.
- PostgreSQL says the term is over: *lost*. Belief ends at once.
- An operator deletes the row: lost at the next renewal; the next term's token is still above all that were seen here.
- An asynchronous failover that swallows a grant: both holders may believe for up to one time to live. The token tells
  them apart; nothing else can.
- PostgreSQL's clock steps forward by more than a time to live: terms end early there, and the next holder may begin
  while the last one still believes. Again the token tells.

Modules (* is pure):

- `terms`*: the words, and the limits on what a caller may say.
- `rules`*: what is done with a wish.
- `wording`*: what a caller is told when a lease is not theirs.
- `book`*: beliefs; the one door by which they change.
- `beliefs`: the book with a voice: logs, counts and passes on what changed.
- `counters`: what metrics reads.
- `schema`*: the table as DDL.
- `statements`: the SQL.
- `connection`: how a session is opened and told, what its errors mean.
- `line`: the connections, kept open.
- `setup`: whether all that is needed is there, and how it gets there.
- `store`: requests on them, attempted again.
- `gate`: the bounded queue before them.
- `access`: whether PostgreSQL can be asked now, and in whose turn.
- `topics`*: which leases are watched, and when to look at them again.
- `watcher`: looks, and wakes those who watch.
- `ear`: LISTEN, so that a look comes sooner.
- `campaign`*: what is done next for an application that campaigns.
- `campaigns`: does it.
- `candidate`: poolguard campaigns by itself, for applications that only ask who leads.
- `proof`: whether an application lives that does not say so.
- `manager`: the service that the web calls.
"""
