"""GET /v1/incidents, /v1/incidents/{id}."""

from datetime import datetime

from aiohttp import web

from poolguard.core.errors import UnknownPool
from poolguard.guard.book import KEPT
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident, IncidentOutcome
from poolguard.settings.policies import LADDERS
from poolguard.web.queries import BadRequest, choice, only, page
from poolguard.web.replies import reply, reply_list
from poolguard.web.sources import CONTROL


async def list_incidents(request: web.Request) -> web.Response:
    """The latest incidents, newest first.

    Filters: pool, rule, action, outcome, application, since; limit and offset.
    """
    query = request.query
    only(query, ("pool", "rule", "action", "outcome", "application", "since", "limit", "offset"))
    limit, offset = page(query)
    incidents = request.app[CONTROL].incidents
    found = incidents.find(
        pool=query.get("pool"),
        rule=choice(query, "rule", _rules(request)),
        action=choice(query, "action", list(Action)),
        application=query.get("application"),
        outcome=choice(query, "outcome", list(IncidentOutcome)),
        since=_since(query.get("since")),
    )
    return await reply_list(
        "incidents", found[offset : offset + limit], _view, total=len(found), limit=limit, offset=offset
    )


async def get_incident(request: web.Request) -> web.Response:
    """One incident; 404 when it is no longer remembered."""
    only(request.query, ())
    incident = request.app[CONTROL].incidents.get(request.match_info["id"])
    if incident is None:
        raise UnknownPool(
            "no incident of this id is remembered", hint=f"The latest {KEPT:,} are; the JSON log has all."
        )
    return reply(_view(incident))


def _rules(request: web.Request) -> list[str]:
    """Of the settings in force, and those that a reload took away while their incidents are kept."""
    settings = request.app[CONTROL].settings.settings
    own = [rule.name for policy in settings.policies.values() for rule in policy.rules]
    foreign = [rule.name for rule in settings.foreign_blockers.rules]
    return [*LADDERS, *own, *foreign, *request.app[CONTROL].incidents.rules()]


def _view(incident: Incident) -> dict[str, object]:
    return incident.as_json()


def _since(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("since must be a time with its zone, such as 2026-01-31T12:00:00Z")
    return moment.timestamp()


ROUTES = (web.get("/v1/incidents", list_incidents), web.get("/v1/incidents/{id}", get_incident))
