"""GET /v1/clients; on the metrics listener /livez/clients/{application_name}, for an application's liveness probe."""

from typing import Final

from aiohttp import web

from poolguard.core.errors import UnknownPool
from poolguard.core.units import format_duration, parse_duration
from poolguard.guard.clients import Client
from poolguard.web.queries import BadRequest, only, page, whole_number
from poolguard.web.replies import reply, reply_list
from poolguard.web.sources import CONTROL, METRICS
from poolguard.web.views import state

LEAKED: Final = 1
FULL_SECONDS: Final = 60.0


def client_view(client: Client, now: float) -> dict[str, object]:
    """One process."""
    return {
        "application_name": client.key.application_name,
        "user": client.key.user,
        "host": client.key.host,
        "pools": list(client.pools),
        "sessions": client.sessions,
        "most_sessions": client.most_sessions,
        "busy": client.busy,
        "states": {state(phase): number for phase, number in client.phases.items()},
        "full_seconds": round(client.full_seconds(now), 3),
        "leaked_slots": client.leaked,
    }


async def list_clients(request: web.Request) -> web.Response:
    """Client processes, most connections first."""
    only(request.query, ("application_name", "limit", "offset"))
    limit, offset = page(request.query)
    sources = request.app[CONTROL]
    wanted, now = request.query.get("application_name"), sources.clock.monotonic()
    found = [c for c in sources.clients.clients.values() if wanted is None or c.key.application_name == wanted]
    found.sort(key=lambda client: (-client.sessions, client.key))
    part = found[offset : offset + limit]
    return await reply_list(
        "clients", part, lambda client: client_view(client, now), total=len(found), limit=limit, offset=offset
    )


async def probe_client(request: web.Request) -> web.Response:
    """200 while the processes of that name can use their own pool of connections, 503 when they can't any more.

    `leaked` (1): how many lost slots are too many. `full` (60s): how long all connections may be busy.
    """
    only(request.query, ("leaked", "full"))
    leaked, full = whole_number(request.query, "leaked", LEAKED, 100_000), _duration(request.query.get("full"))
    sources = request.app[METRICS]
    now, name = sources.clock.monotonic(), request.match_info["application_name"]
    found = [client for client in sources.clients.clients.values() if client.key.application_name == name]
    if not found:
        raise UnknownPool(f"no client with application_name {name[:64]!r} is connected, or was in the last hour")
    why = [reason for client in found for reason in _complaints(client, now, leaked, full)]
    body = {"status": "failing" if why else "ok", "why": why, "clients": [client_view(c, now) for c in found]}
    return reply(body, status=503 if why else 200)


def _complaints(client: Client, now: float, leaked: int, full: float) -> list[str]:
    why = []
    if 0 < leaked <= client.leaked:
        why.append(f"{client.leaked} connections hold transactions that the guard has ended and nobody has noticed")
    if client.full_seconds(now) >= full:
        lasted = format_duration(client.full_seconds(now))
        why.append(f"all {client.sessions} connections have been busy for {lasted}")
    return why


def _duration(text: str | None) -> float:
    if text is None:
        return FULL_SECONDS
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"full: {error}") from None


ROUTES = (web.get("/v1/clients", list_clients),)
PROBES = (web.get("/livez/clients/{application_name}", probe_client),)
