"""Elections over HTTP: poolguard acquires and renews for the application, which says or shows that it lives."""

import asyncio
import contextlib
from typing import Final

from aiohttp import hdrs, web

from poolguard.aio.alarm import sleep_until_or
from poolguard.core.clock import Clock
from poolguard.lease import terms
from poolguard.lease.campaign import Phase
from poolguard.lease.campaigns import Campaigns, Run
from poolguard.web import election_schemas as schemas
from poolguard.web import lease_schemas, queries
from poolguard.web.replies import reply, reply_list
from poolguard.web.streams import LOOK_SECONDS, PING_SECONDS, ClientGone, EventStream

_NAME: Final = "{name:.+}"
EVENT_STREAM: Final = "text/event-stream"


def election_routes(campaigns: Campaigns, clock: Clock) -> list[web.RouteDef]:
    """Return the routes."""
    handlers = _Handlers(campaigns, clock)
    return [
        web.get("/v1/elections", handlers.every),
        web.post(f"/v1/elections/{_NAME}/campaign", handlers.campaign),
        web.delete(f"/v1/elections/{_NAME}/campaign", handlers.withdraw),
        web.post(f"/v1/elections/{_NAME}/step-down", handlers.step_down),
    ]


class _Handlers:
    def __init__(self, campaigns: Campaigns, clock: Clock) -> None:
        self._campaigns = campaigns
        self._clock = clock

    async def every(self, request: web.Request) -> web.Response:
        """The campaigns that run through this poolguard."""
        queries.only(request.query, ())
        return await reply_list("campaigns", list(self._campaigns.runs()), self._view)

    async def campaign(self, request: web.Request) -> web.StreamResponse:
        """Campaign, or show that the application of the same requestId lives."""
        asked = schemas.parse_campaign(
            await queries.json_object(request, schemas.CAMPAIGN_KEYS),
            name=_name(request),
            default_ttl_seconds=self._campaigns.manager.default_ttl_seconds,
        )
        run, new = self._campaigns.campaign(asked.wish, liveness_seconds=asked.liveness_seconds, prove=asked.prove)
        if EVENT_STREAM in request.headers.get(hdrs.ACCEPT, ""):
            return await self._stream(request, run)
        return reply(self._view(run), status=201 if new else 200)

    async def withdraw(self, request: web.Request) -> web.Response:
        """End a campaign; its term is released."""
        queries.only(request.query, schemas.WITHDRAW_KEYS)
        run = self._campaigns.get(terms.check_name(_name(request)), schemas.parse_withdraw(request.query))
        if run is not None:
            await self._campaigns.withdraw(run)
        return web.Response(status=204)

    async def step_down(self, request: web.Request) -> web.Response:
        """End the term in favour of others."""
        how = schemas.parse_step_down(await queries.json_object(request, schemas.STEP_DOWN_KEYS))
        name = terms.check_name(_name(request))
        asked = await self._campaigns.step_down(name, how)
        standing = await self._campaigns.manager.get(name)
        return reply(lease_schemas.lease(standing), status=200 if asked is None else 202)

    def _view(self, run: Run) -> dict[str, object]:
        manager, term = self._campaigns.manager, run.campaign.term
        belief = manager.leader(term.name) if term is not None else None
        trusted = belief is not None and term is not None and belief.token == term.token
        return schemas.campaign(run, manager.trust_seconds(belief) if belief is not None and trusted else 0.0)

    async def _stream(self, request: web.Request, run: Run) -> web.StreamResponse:
        with run.read() as news:
            stream = await EventStream.open(request)
            with contextlib.suppress(ClientGone):
                await self._tell(stream, run, news)
            return stream.response

    async def _tell(self, stream: EventStream, run: Run, news: asyncio.Event) -> None:
        ping_at = self._clock.monotonic() + PING_SECONDS
        news.set()
        while not stream.gone:
            if news.is_set():
                news.clear()
                view = self._view(run)
                await stream.send(str(view["phase"]), view)
                if run.campaign.phase is Phase.ENDED:
                    return
            now = self._clock.monotonic()
            if now >= ping_at:
                await stream.ping()
                ping_at = now + PING_SECONDS
            await sleep_until_or(self._clock, min(ping_at, now + LOOK_SECONDS), news)


def _name(request: web.Request) -> str:
    return request.match_info["name"]
