"""GET /v1/events: incidents as they come, and the pools once a second, for the page and for `curl -N`."""

import contextlib
from typing import Final

from aiohttp import web

from poolguard.core.errors import PoolguardError
from poolguard.guard.book import Stream
from poolguard.web.queries import only
from poolguard.web.sources import CONTROL, ControlSources
from poolguard.web.streams import ClientGone, EventStream
from poolguard.web.views import pool_view

MAX_STREAMS: Final = 16
"""Each costs a rendering of all pools a second."""
POOLS_SECONDS: Final = 1.0

_STREAMS: Final = web.AppKey("streams", set[EventStream])


class TooManyStreams(PoolguardError):
    """`MAX_STREAMS` are read already."""

    http_status = 503
    code = "too_many_streams"
    retry_after_seconds = 10


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: `pools` at once and each second, `incident` when there is one, `missed` if some were lost."""
    only(request.query, ())
    streams = request.app[_STREAMS]
    if len(streams) >= MAX_STREAMS:
        raise TooManyStreams(
            f"{len(streams)} streams of events are read already", hint="Close a page, or read /v1/incidents."
        )
    sources = request.app[CONTROL]
    with sources.incidents.subscribe() as incidents:
        stream = await EventStream.open(request)
        streams.add(stream)
        try:
            with contextlib.suppress(ClientGone):
                await _tell(stream, incidents, sources)
        finally:
            streams.discard(stream)
        return stream.response


async def _tell(stream: EventStream, incidents: Stream, sources: ControlSources) -> None:
    clock, missed = sources.clock, 0
    while not stream.gone:
        await stream.send("pools", {"pools": [pool_view(pool) for pool in sources.pools()]})
        pools_at = clock.monotonic() + POOLS_SECONDS
        while (incident := await incidents.take(max(0.0, pools_at - clock.monotonic()))) is not None:
            if incidents.missed > missed:
                await stream.send("missed", {"incidents": incidents.missed - missed})
                missed = incidents.missed
            await stream.send("incident", incident.as_json())


def add_events(app: web.Application) -> None:
    """Let *app* answer GET /v1/events."""
    app[_STREAMS] = set()
    app.add_routes([web.get("/v1/events", stream_events)])
