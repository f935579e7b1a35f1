"""The lease API over HTTP: parse, ask the manager, render. Errors are raised, and mapped where all errors are."""

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from poolguard.core.clock import Clock
from poolguard.core.errors import NotAllowed, NotLeader
from poolguard.lease import terms
from poolguard.lease.manager import LeaseManager, Standing
from poolguard.web import lease_schemas as schemas
from poolguard.web import queries
from poolguard.web.guardrails import caller
from poolguard.web.lease_watching import INDEX, WATCH_KEYS, LeaseWatching, index_of_page, parse_watch, with_index
from poolguard.web.replies import reply, reply_list
from poolguard.web.streams import client_gone

_NAME: Final = "{name:.+}"
"""Slashes may stand as they are or as %2F."""
MAX_REASON: Final = 500


def lease_routes(manager: LeaseManager, clock: Clock, *, admin_token: Callable[[], str]) -> list[web.RouteDef]:
    """Return the routes. Force release exists only while *admin_token* is not empty; that requests to /v1/admin carry
    it is seen to by `guardrails`, through which all of them pass.
    """
    handlers = _Handlers(manager, clock, admin_token)
    return [
        web.get("/v1/leases", handlers.every),
        web.get(f"/v1/leases/{_NAME}/events", handlers.events),
        web.get(f"/v1/leases/{_NAME}", handlers.get),
        web.put(f"/v1/leases/{_NAME}", handlers.acquire),
        web.delete(f"/v1/leases/{_NAME}", handlers.release),
        web.post(f"/v1/leases/{_NAME}/renew", handlers.renew),
        web.get(f"/leader/{_NAME}", handlers.leader),
        web.delete(f"/v1/admin/leases/{_NAME}", handlers.force_release),
    ]


def leader_of(manager: LeaseManager, name: str) -> dict[str, object]:
    """Show the term of *name* that is trusted now. Raises InvalidLease, NotLeader."""
    belief = manager.leader(terms.check_name(name))
    if belief is None:
        raise NotLeader(f"this poolguard holds no trusted term of lease {name!r}")
    return schemas.leader(belief, manager.trust_seconds(belief))


class _Handlers:
    def __init__(self, manager: LeaseManager, clock: Clock, admin_token: Callable[[], str]) -> None:
        self._manager = manager
        self._watching = LeaseWatching(manager, clock)
        self._admin_token = admin_token

    async def acquire(self, request: web.Request) -> web.Response:
        """Begin a term, or find the one that the same requestId got before."""
        wish, chosen = schemas.parse_acquire(
            await queries.json_object(request, schemas.ACQUIRE_KEYS),
            name=_name(request),
            default_ttl_seconds=self._manager.default_ttl_seconds,
        )
        acquired = await self._manager.acquire(wish, chosen_by_caller=chosen)
        return with_index(acquired.standing, status=201 if acquired.new else 200)

    async def renew(self, request: web.Request) -> web.Response:
        """Let a term run for its whole duration again."""
        term, metadata = schemas.parse_renew(
            await queries.json_object(request, schemas.RENEW_KEYS), name=_name(request)
        )
        return with_index(await self._manager.renew(term, metadata))

    async def release(self, request: web.Request) -> web.Response:
        """Give a term back."""
        queries.only(request.query, schemas.RELEASE_KEYS)
        await self._manager.release(schemas.parse_release(request.query, name=_name(request)))
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.Response:
        """One lease as PostgreSQL has it; with index, once it has changed."""
        queries.only(request.query, WATCH_KEYS)
        index, seconds = parse_watch(request.query)
        name = _name(request)
        if index is None:
            return with_index(await self._manager.get(name))
        return with_index(await self._watching.one(name, index, seconds, gone=lambda: client_gone(request)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow one lease."""
        queries.only(request.query, ())
        return await self._watching.events(request, _name(request))

    async def every(self, request: web.Request) -> web.Response:
        """All leases by name."""
        queries.only(request.query, (*schemas.PAGE_KEYS, *WATCH_KEYS))
        after, prefix, limit = schemas.parse_page(request.query)
        index, seconds = parse_watch(request.query)

        async def read() -> Sequence[Standing]:
            return await self._manager.list(after=after, prefix=prefix, limit=limit)

        found = await (read() if index is None else self._watching.page(read, index, seconds))
        following = found[-1].row.name if len(found) == limit else None
        answer = await reply_list("leases", found, schemas.lease, next=following)
        answer.headers[INDEX] = str(index_of_page(found))
        return answer

    async def leader(self, request: web.Request) -> web.Response:
        """Whether a term is held through this poolguard and trusted; from memory."""
        return reply(leader_of(self._manager, _name(request)))

    async def force_release(self, request: web.Request) -> web.Response:
        """End whatever term runs; an incident says who did it, and why."""
        if not self._admin_token():
            raise NotAllowed("force release needs an admin token, and none is set", hint="Set auth.admin_token.")
        queries.only(request.query, ("actor", "reason"))
        reason = request.query.get("reason")
        await self._manager.force_release(
            _name(request),
            actor=caller(request, request.query.get("actor")),
            reason="" if reason is None else queries.text(reason, "reason", MAX_REASON),
        )
        return web.Response(status=204)


def _name(request: web.Request) -> str:
    return request.match_info["name"]
