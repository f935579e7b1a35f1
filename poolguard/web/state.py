"""GET /v1/settings, and GET /openapi.json for programs that look around."""

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from poolguard import __version__
from poolguard.web.lease_operations import OPERATIONS, SCHEMAS
from poolguard.web.openapi import Operation, Route, document
from poolguard.web.queries import only
from poolguard.web.replies import reply
from poolguard.web.sources import CONTROL

_STREAMS: Final = {"GET /v1/events": Operation(stream=True, answers={503: None})}


async def get_settings(request: web.Request) -> web.Response:
    """Which settings are in force, not what is in them: hash, source, warnings, how reloads went."""
    only(request.query, ())
    current = request.app[CONTROL].settings
    return reply(
        {
            "hash": current.hash,
            "source": current.source,
            "loaded_at": datetime.fromtimestamp(current.loaded_at, UTC).isoformat(timespec="seconds"),
            "warnings": list(current.warnings),
            "reloads": {result.value: number for result, number in current.reloads.items()},
            "last_refusal": current.last_refusal or None,
            "admin_token_required": bool(current.settings.auth.admin_token),
        }
    )


async def get_openapi(request: web.Request) -> web.Response:
    """What there is, for programs: OpenAPI."""
    routes = [
        Route(route.method, route.resource.canonical, _summary(route.handler.__doc__))
        for route in request.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]
    return reply(document(routes, version=__version__, operations={**OPERATIONS, **_STREAMS}, schemas=SCHEMAS))


def _summary(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].rstrip(".")


ROUTES = (web.get("/openapi.json", get_openapi), web.get("/v1/settings", get_settings))
