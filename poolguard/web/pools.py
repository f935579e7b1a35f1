"""GET /v1/pools, /v1/pools/{name}."""

from aiohttp import web

from poolguard.core.errors import UnknownPool
from poolguard.web.queries import only
from poolguard.web.replies import reply, reply_list
from poolguard.web.sources import CONTROL
from poolguard.web.views import pool_view


async def list_pools(request: web.Request) -> web.Response:
    """Every pool, in the order of the settings."""
    only(request.query, ())
    return await reply_list("pools", request.app[CONTROL].pools(), pool_view)


async def get_pool(request: web.Request) -> web.Response:
    """One pool. 404 names those that there are."""
    only(request.query, ())
    name = request.match_info["name"]
    pools = request.app[CONTROL].pools()
    for pool in pools:
        if pool.name == name:
            return reply(pool_view(pool))
    raise UnknownPool(f"no pool {name[:64]!r}", hint=f"There are: {', '.join(pool.name for pool in pools)}.")


ROUTES = (web.get("/v1/pools", list_pools), web.get("/v1/pools/{name}", get_pool))
