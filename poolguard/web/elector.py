"""`/` and `/isLeader` as the leader-elector sidecar has them, so that its users can move over. Fails closed."""

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from poolguard.core.clock import Clock
from poolguard.lease.candidate import Candidate
from poolguard.web.errors import errors_to_json
from poolguard.web.replies import reply

_CANDIDATE: Final = web.AppKey("candidate", Candidate)
_CLOCK: Final = web.AppKey("clock", Clock)


async def get_leader(request: web.Request) -> web.Response:
    """Who leads: `name` equals this pod's own only while its poolguard trusts its term; empty: nobody knows."""
    return reply({"name": request.app[_CANDIDATE].leader, "last_update": _now(request)})


async def get_is_leader(request: web.Request) -> web.Response:
    """200 while this poolguard trusts its term, else 503; `isLeader` says the same."""
    leads = request.app[_CANDIDATE].leads
    return reply({"isLeader": leads, "name": request.app[_CANDIDATE].leader}, status=200 if leads else 503)


def _now(request: web.Request) -> str:
    return datetime.fromtimestamp(request.app[_CLOCK].wall(), UTC).isoformat(timespec="seconds")


def elector_app(candidate: Candidate, clock: Clock) -> web.Application:
    """The application of the listener `leases.elector`. It changes nothing, so any Host will do."""
    app = web.Application(middlewares=[errors_to_json])
    app[_CANDIDATE] = candidate
    app[_CLOCK] = clock
    app.add_routes([web.get("/", get_leader), web.get("/isLeader", get_is_leader)])
    return app
