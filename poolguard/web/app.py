"""The two applications: their routes, and the middlewares in the order in which a request meets them."""

from aiohttp import web

from poolguard.web import clients, errors_seen, health, incidents, locks, page, pools, sessions, state, transactions
from poolguard.web.bodies import MAX_BODY_BYTES, read_bodies
from poolguard.web.errors import errors_to_json
from poolguard.web.events import add_events
from poolguard.web.guardrails import guardrails
from poolguard.web.sources import CONTROL, METRICS, ControlSources, MetricsSources


def control_app(sources: ControlSources) -> web.Application:
    """Leases, admin, and everything that can be looked at."""
    # Guardrails before bodies: whoever may not come in is not read.
    gate = guardrails(sources.names, lambda: sources.settings.settings.auth.admin_token)
    app = web.Application(middlewares=[errors_to_json, gate, read_bodies()], client_max_size=MAX_BODY_BYTES)
    app[CONTROL] = sources
    for module in (page, state, pools, sessions, transactions, incidents, locks, errors_seen, clients):
        app.add_routes(module.ROUTES)
    add_events(app)
    app.add_routes(sources.routes)
    return app


def metrics_app(sources: MetricsSources) -> web.Application:
    """The scrape and the probes. Any Host will do: kubelet and Prometheus call by address or by any name."""
    app = web.Application(middlewares=[errors_to_json], client_max_size=MAX_BODY_BYTES)
    app[METRICS] = sources
    app.add_routes(health.ROUTES)
    app.add_routes(clients.PROBES)
    return app
