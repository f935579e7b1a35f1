"""A small client of the lease API: standard library only, and nothing of the server is imported with it.

    from poolguard.client import LeaseClient

    with LeaseClient().hold("scheduler") as held:          # waits until it leads
        while held.trusted:
            do_some_work(fencing_token=held.token)

    async with LeaseClient().hold_async("scheduler") as held:   # the body is cancelled when the lease is lost
        await do_work(held.token)

What it owns is the holder's side of the contract: trust is counted from when a request was *sent* and ends by the
holder's own clock, which goes on during suspend; no answer is neither a yes nor a no, and the same request is sent
again; a hanging request leaves time for another one. Requests are `http.client`'s, in a thread where a loop runs.

Errors are those of `core.errors`: LeaseHeld, LeaseLost, LeaseUnavailable, LeaseUnknown, LeaseNotFound, NotLeader,
NotAllowed, InvalidLease.

- `term`: a term as its holder has it, and when to ask again.
- `candidate`: what is asked until one is elected.
- `http`: requests, and refusals as errors.
- `client`: one method a request.
- `holding`: `with`; a thread renews.
- `async_holding`: `async with`; the event loop renews.
"""

from poolguard.client.client import LeaseClient
from poolguard.client.http import DEFAULT_URL
from poolguard.client.term import Term

__all__ = ["DEFAULT_URL", "LeaseClient", "Term"]
