"""HTTP: who asks, whether they may, and the answer as JSON.

Owns two listeners. *Control* (loopback by default): pools, sessions, transactions and what can be done to them,
incidents, settings, leases. *Metrics*: the scrape and the probes, read-only and without a word of SQL, because
kubelet and Prometheus can't reach loopback.

Theory. Handlers translate: parse, call, render. What may happen is decided where the facts are (guard, leases), and
what fails is a PoolguardError that one middleware maps to a status and one JSON shape. Before a handler runs, the
guardrails have asked three things of every control request: does it mean us (Host), does it come from a page of
somebody else's (Origin, Sec-Fetch-Site), and, if it changes anything, is it JSON on purpose; so no page in a browser
on this machine can act here, not even by DNS rebinding. Where an admin token is set, ending transactions and
everything under /v1/admin needs it.

Everything runs on the relay's event loop, so every length, count and time that a caller controls has a limit, and
long answers are rendered in slices. Answers hold fingerprints of statements, never their text.

- `app`: the two applications: routes and middlewares.
- `server`: one listener as a service.
- `connection`: one connection, with a way past aiohttp.
- `shortcut`: who leads, told in the turn in which it is asked.
- `errors`: failures to JSON.
- `guardrails`: whether a request may come in. The decision is pure.
- `hosts`: which names are ours. Pure.
- `bodies`: the middleware that reads bodies, within limits.
- `queries`: parameters and bodies in.
- `replies`: JSON out, long lists in slices.
- `sources`: what the handlers read and call.
- `views`: ledger facts and snapshots to JSON. Pure.
- `pools`: handlers of pools.
- `sessions`: handlers of sessions.
- `transactions`: handlers of transactions, and of what a person does to them.
- `incidents`: handlers of incidents.
- `courier`: incidents carried to somebody outside: queue, repeats, attempts.
- `webhook`: by POST, signed.
- `kubernetes`: as Events on the pod.
- `kubernetes_event`: what such an Event says. Pure.
- `locks`: handlers of the lock graph.
- `clients`: handlers of client processes, and the probe of one.
- `errors_seen`: handlers of deadlocks and duplicate keys.
- `state`: handlers of settings and of the API's description.
- `page`: the live page and the list of paths; its files are in assets/.
- `events`: incidents and pools as a stream.
- `health`: handlers of the probes and the scrape.
- `readiness`: whether poolguard is ready, and why not. Pure.
- `leases`: handlers of the lease API.
- `lease_schemas`: the lease API's bodies and answers.
- `lease_watching`: leases as they change: the long poll and the stream of events.
- `elections`: handlers of campaigns and step-downs.
- `election_schemas`: their bodies and answers.
- `elector`: / and /isLeader of the old leader-elector.
- `openapi`: /openapi.json from the routes. Pure.
- `lease_operations`: what it says of leases. Pure.
- `streams`: server-sent events.
"""
