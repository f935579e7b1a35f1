"""GET /v1/sessions."""

from itertools import islice

from aiohttp import web

from poolguard.ledger.facts import session_facts
from poolguard.web.queries import choice, only, page
from poolguard.web.replies import reply_list
from poolguard.web.sources import CONTROL
from poolguard.web.views import STATES, session_view


async def list_sessions(request: web.Request) -> web.Response:
    """Sessions, oldest first. Filters: pool, state; limit (100, at most 500) and offset."""
    query = request.query
    only(query, ("pool", "state", "limit", "offset"))
    pool, state = query.get("pool"), choice(query, "state", STATES)
    phase = STATES[state] if state is not None else None
    limit, offset = page(query)
    sources = request.app[CONTROL]
    ledger, now = sources.ledger, sources.clock.monotonic()
    # Entries are filtered raw and only the page is read out: facts of 10,000 sessions would block the loop for 20 ms.
    matching = [
        entry
        for entry in ledger.sessions.values()
        if (pool is None or entry.pool == pool) and (phase is None or entry.phase is phase)
    ]
    facts = [
        session_facts(entry, now, holds=entry.session_id in ledger.holders)
        for entry in islice(matching, offset, offset + limit)
    ]
    return await reply_list("sessions", facts, session_view, total=len(matching), limit=limit, offset=offset)


ROUTES = (web.get("/v1/sessions", list_sessions),)
