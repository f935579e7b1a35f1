"""The metrics listener's handlers: /metrics, /livez, /readyz, /startupz."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from poolguard.web.readiness import Check, check_leases, check_process, is_ready
from poolguard.web.replies import reply
from poolguard.web.sources import METRICS


async def get_metrics(request: web.Request) -> web.Response:
    """What Prometheus scrapes."""
    body, content_type = await request.app[METRICS].exposition.render_in_turns(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"})


async def get_livez(request: web.Request) -> web.Response:
    """200 while the event loop turns. It never looks at PostgreSQL: a restart would not mend that."""
    lag = request.app[METRICS].loop_lag_seconds()
    return reply({"status": "ok", "loop_lag_seconds": round(lag, 4)})


async def get_readyz(request: web.Request) -> web.Response:
    """200 if clients are taken, else 503; with every check and its reason."""
    sources = request.app[METRICS]
    checks = check_process(started=sources.started(), listening=sources.listening(), draining=sources.draining())
    checks += sources.readiness.check_pools(sources.pools())
    checks.append(check_leases(sources.lease_store()))
    return _answer(checks)


async def get_startupz(request: web.Request) -> web.Response:
    """200 once everything has been started, for ever after."""
    started = request.app[METRICS].started()
    return _answer([Check("started", ok=started, why="started" if started else "still starting")])


def _answer(checks: Sequence[Check]) -> web.Response:
    ready = is_ready(checks)
    body = {
        "status": "ok" if ready else "failing",
        "checks": [
            {"name": check.name, "ok": check.ok, "required": check.required, "why": check.why} for check in checks
        ],
    }
    return reply(body, status=200 if ready else 503)


ROUTES = (
    web.get("/metrics", get_metrics),
    web.get("/livez", get_livez),
    web.get("/readyz", get_readyz),
    web.get("/startupz", get_startupz),
)
