"""GET /v1/locks: who waits for whose lock now, and the latest trees; as JSON, or as text for a terminal."""

from dataclasses import replace
from typing import Final

from aiohttp import web

from poolguard.guard.incidents import iso_time
from poolguard.guard.locks.tell import as_json, as_text, history_text, tree_json, tree_without_text, without_text
from poolguard.web.queries import choice, only
from poolguard.web.replies import reply
from poolguard.web.sources import CONTROL

FORMATS: Final = ("json", "text")


async def show_locks(request: web.Request) -> web.Response:
    """The graph as of its latest reading; with `history=true` the latest trees too.

    `format=text`, or an Accept header that begins with text/plain, draws it for people.
    """
    only(request.query, ("format", "history"))
    sources = request.app[CONTROL]
    state = sources.locks
    graph = state.graph if sources.shows_text else without_text(state.graph)
    with_history = choice(request.query, "history", ("true", "false")) == "true"
    seen = [
        one if sources.shows_text else replace(one, tree=tree_without_text(one.tree))
        for one in (state.history if with_history else ())
    ]
    accepts_text = request.headers.get("Accept", "").startswith("text/plain")
    if (choice(request.query, "format", FORMATS) or ("text" if accepts_text else "json")) == "text":
        now = as_text(graph) if state.connected else "The observer is not connected: nothing is known of locks.\n"
        return web.Response(text=now + (history_text(seen) if with_history else ""))
    values: dict[str, object] = {
        "connected": state.connected,
        "privilege_tier": state.tier.name,
        **as_json(graph, state.at),
    }
    if with_history:
        values["history"] = [
            {"first_time": iso_time(one.first_at), "last_time": iso_time(one.last_at), **tree_json(one.tree)}
            for one in seen
        ]
    return reply(values)


ROUTES = (web.get("/v1/locks", show_locks),)
