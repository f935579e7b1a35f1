"""Failures to answers: every one, also 404, 405 and our own bugs, has the same JSON shape.

`{"error": code, "message": ..., "detail": ..., "hint": ...}`; detail and hint only where there is one, and
after them the error's own `fields` (a lease's holder).
"""

import logging
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Final

from aiohttp import hdrs, web

from poolguard.core.errors import PoolguardError
from poolguard.web.replies import reply

HEADER_BYTES: Final = 8190
"""Of a request line, or of one header field."""

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors_to_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure in JSON. Must be the outermost middleware."""
    try:
        return await handler(request)
    except PoolguardError as error:
        return refusal(error)
    except web.HTTPException as error:
        return _of_aiohttp(request, error)
    except Exception as error:  # noqa: BLE001 - the last stop: a bug answers 500 and poolguard goes on
        return _bug(request, error)


def body_of(error: PoolguardError) -> dict[str, object]:
    """The JSON object that tells *error*."""
    body: dict[str, object] = {"error": error.code, "message": error.message}
    if error.detail:
        body["detail"] = error.detail
    if error.hint:
        body["hint"] = error.hint
    return {**body, **error.fields}


def fields_of(error: PoolguardError) -> dict[str, str]:
    """The header fields that tell *error*, beside those of every answer."""
    fields: dict[str, str] = {}
    if error.http_status == 401:
        fields[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if error.http_status == 503:
        fields[hdrs.RETRY_AFTER] = str(error.retry_after_seconds)
    return fields


def refusal(error: PoolguardError) -> web.Response:
    """The answer to a request that failed for a known reason."""
    return reply(body_of(error), status=error.http_status, headers=fields_of(error))


def unreadable(status: int, *, too_long: bool) -> web.Response:
    """The answer to what aiohttp can't read as a request. It repeats nothing of that: a token may be in it."""
    if status >= 500:
        return reply({"error": "internal", "message": "a bug in poolguard; its log has more"}, status=status)
    if too_long:
        message = f"the request line or a header field is longer than {HEADER_BYTES} bytes"
        return reply({"error": "too_long", "message": message}, status=status)
    return reply({"error": "malformed", "message": "this is no HTTP request"}, status=status)


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    body: dict[str, object] = {}
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        body = {"error": "method_not_allowed", "message": f"{error.method} does not exist here; use {allowed}"}
        headers[hdrs.ALLOW] = allowed
    elif isinstance(error, web.HTTPNotFound):
        body = {"error": "not_found", "message": "there is nothing at this path"}
        if any(resource.canonical == "/" for resource in request.app.router.resources()):
            body["hint"] = "GET / lists all paths."  # only the control listener has it
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        body = {"error": "too_large", "message": f"the body is longer than {request.client_max_size} bytes"}
    else:
        body = {"error": error.reason.lower().replace(" ", "_"), "message": error.reason}
    return reply(body, status=error.status, headers=headers)


def _bug(request: web.Request, error: Exception) -> web.Response:
    incident = token_hex(6)
    resource = request.match_info.route.resource
    log.error(
        "request failed: a bug in poolguard",
        # The route, not the path: a path may hold what a caller wrote.
        extra={"error_id": incident, "method": request.method, "route": resource and resource.canonical},
        exc_info=error,
    )
    return reply(
        {
            "error": "internal",
            "message": f"a bug in poolguard; its log has more under the id {incident}",
            "id": incident,
        },
        status=500,
    )
