"""The guard: judges each transaction that holds a server, every 100 ms, and ends what the operator's policy says.

Owns verdicts, the budget, incidents. Knows nothing of sockets and never imports the relay: it reads `ledger` facts and
acts through `ledger.hands`, which the daemon wires.

Theory. A policy is compiled to rules: those that it lists, then one for each ladder (idle_in_transaction,
transaction_age, statement_age, checkout_age). `judge` gives for each rule that matches the harshest step that is due,
can be done in this phase and was not taken yet; never one milder than what was taken. Exemptions beat matches, and
some work is never ended (`exemptions`). Steps taken are remembered by TransactionId and belong to one transaction: a
checkout that goes on to another transaction (session mode, pins) starts afresh, but for checkout_age. `plan` then
takes the verdicts of one sweep and what the budget has left, and says what to carry out (one action a transaction, by
the first rule that may act, oldest transaction first), what only to note (a warning, or anything under `observe`), what
to withhold.

- The ledger is authoritative for facts, the relay (through Hands) for whether an action still makes sense: it answers
  VICTIM_MOVED or REFUSED, and the step is tried again later, ever more slowly. An action names the checkout, and with
  `Still` the transaction and the statement that were judged: what the client did since then is never hit.
- What statements say (`traits`) is read only when a rule asks, a statement a turn of the loop.
- An action runs in a task of its own, at most one a transaction; the next sweep never waits for it. One that has no
  answer after 15 s is cancelled and counts as FAILED.
- After a rollback or a terminate was DONE, nothing more is due for that transaction; only the checkout of a session
  that stays pinned can still grow too old.
- A sweep that raises is logged and the next one runs. A sweep that comes more than a second late judges nothing: the
  process stood still, and what clients sent meanwhile must be read first.
- Everything done, or withheld, is an incident; memory is bounded: 1,000 incidents, histories only of holders.

Modules:

- `rules`: compile a policy; what a verdict is.
- `conditions`: the keys of a rule, ready to ask.
- `exemptions`: whom and what the guard leaves alone.
- `traits`: what a transaction's statements say about it.
- `case`: a transaction with all that a rule may ask.
- `judge`: which steps are due for one transaction.
- `explain`: why a transaction is, or is not, acted on.
- `recorded`: a snapshot of the API's, to be judged again.
- `gaps`: how long clients say nothing inside of transactions.
- `history`: the steps taken against one transaction.
- `plan`: verdicts and budget to planned steps.
- `records`: histories and timelines of all holders.
- `actions`: actions under way, each in a task.
- `incidents`: what an incident holds, and its JSON.
- `log_line`: an incident as a line of the log. Pure.
- `evidence`: from ledger facts to what an incident shows.
- `clients`: client processes, their full pools and lost slots.
- `client_watch`: looks at all sessions for that.
- `starvation`: why somebody waited in vain.
- `deadlocks`: the message of a deadlock to the cycle.
- `errors`: deadlocks and duplicate keys, by who caused them.
- `wording`: errors for clients, advice and exemptions for operators.
- `report`: from verdicts and orders to incidents.
- `book`: the ring of incidents, its filters and its stream.
- `digest`: which incidents are told anew.
- `counters`: what metrics read.
- `guard`: the sweep, and what operators do by hand.

`locks` reads who waits for whom, `foreign` acts on lock holders that are not ours.
"""
