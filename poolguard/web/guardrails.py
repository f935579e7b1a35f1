"""Whether a request may come in: no drive-by from a browser, and the admin token where one is set.

A browser sends requests for any page to any address. Without being asked (CORS) it lets a page send only GET, HEAD
and POST, and POST only as a form or plain text; we never say yes to CORS, so a body that claims to be JSON, and DELETE
and PUT, can't come from a foreign page. What remains are pages that reach us under their own name (see `hosts`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from poolguard.core.errors import AuthenticationFailed, ClientViolation, NotAllowed
from poolguard.core.secret import same
from poolguard.web.hosts import OwnNames, WrongHost
from poolguard.web.queries import text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ADMIN_PATHS: Final = ("/v1/transactions/", "/v1/admin/")
"""State-changing requests below these need the admin token, where one is set."""

JSON: Final = "application/json"
MAX_ACTOR: Final = 64


class ForeignPage(NotAllowed):
    """A browser sent the request for a page that is not ours."""

    code = "foreign_page"


class NotJson(ClientViolation):
    """A state-changing request that doesn't say it is JSON."""

    http_status = 415
    code = "not_json"


class TokenMissing(AuthenticationFailed):
    """This needs the admin token, and none was sent."""


class TokenWrong(NotAllowed):
    """The admin token that was sent is not the one that is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What the guardrails look at."""

    method: str
    path: str
    """The matched route's own path, so that no spelling of the URL gets around a rule."""
    host: str
    origin: str | None
    fetch_site: str | None
    content_type: str
    """Without parameters, in lower case; empty for none."""
    has_body: bool
    authorization: str | None
    exists: bool = True
    """There is a handler for it; else it changes nothing, and is answered 404 or 405."""


def check(request: Incoming, names: OwnNames, admin_token: str) -> None:
    """Return if *request* may come in; an empty *admin_token* means that none is set.

    Raises WrongHost (421), ForeignPage (403), NotJson (415), TokenMissing (401) or TokenWrong (403).
    """
    _check_host(request, names)
    if request.method in SAFE_METHODS:
        return  # a foreign page may send these, and can't read the answer
    _check_origin(request)
    if not request.exists:
        return
    if request.content_type != JSON and (request.has_body or request.method != "DELETE"):
        raise NotJson(
            "a request that changes something must be JSON",
            hint="Send the header Content-Type: application/json, also when there is no body.",
        )
    if admin_token and request.path.startswith(ADMIN_PATHS):
        _check_token(request.authorization, admin_token)


def _check_host(request: Incoming, names: OwnNames) -> None:
    if not names.mean_us(request.host):
        raise WrongHost(
            "this poolguard does not answer to the name in the Host header",
            hint="Use localhost, an IP address, or the host that listen.control.host names.",
        )


def _check_origin(request: Incoming) -> None:
    # Browsers set both and pages can't: MDN, "Forbidden request header".
    foreign = request.fetch_site in ("cross-site", "same-site")
    if request.origin is not None and urlsplit(request.origin).netloc.lower() != request.host.lower():
        foreign = True
    if foreign:
        raise ForeignPage(
            "a page of another origin may not send requests to poolguard",
            hint="Let the application's server send the request, without the header Origin.",
        )


def _check_token(authorization: str | None, admin_token: str) -> None:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenMissing(
            "this needs the admin token",
            hint="Send the header Authorization: Bearer TOKEN, with auth.admin_token of the settings.",
        )
    if not same(token.strip(), admin_token):
        raise TokenWrong("this is not the admin token", hint="It is auth.admin_token of the settings.")


def guardrails(names: OwnNames, admin_token: Callable[[], str]) -> Middleware:
    """The middleware that lets in only what `check` lets in. *admin_token* is asked anew for each request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        check(_incoming(request), names, admin_token())
        return await handler(request)

    return middleware


def _incoming(request: web.Request) -> Incoming:
    resource = request.match_info.route.resource
    return Incoming(
        method=request.method,
        path=resource.canonical if resource is not None else request.path,
        # Not request.host: that falls back to the machine's name when there is no header.
        host=request.headers.get(hdrs.HOST, ""),
        origin=request.headers.get(hdrs.ORIGIN),
        fetch_site=request.headers.get("Sec-Fetch-Site"),
        content_type=request.content_type.lower() if hdrs.CONTENT_TYPE in request.headers else "",
        has_body=request.body_exists,
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        exists=request.match_info.http_exception is None,
    )


def caller(request: web.Request, name: object = None) -> str:
    """Who asks, for incidents and the log, by the *name* that they give. The guardrails have let them in already.

    Raises BadRequest for a name that is none.
    """
    known = "http" if name is None else text(name, "actor", MAX_ACTOR)
    return f"{known} ({request.remote or 'unknown address'})"
