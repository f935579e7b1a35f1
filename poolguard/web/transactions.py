"""GET /v1/transactions, and what a person can do to one: cancel, rollback, terminate."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

from aiohttp import web

from poolguard.core.errors import UnknownPool
from poolguard.guard.history import Action
from poolguard.guard.recorded import traits_json
from poolguard.guard.traits import read_traits
from poolguard.ledger.facts import transaction_facts
from poolguard.web.guardrails import caller
from poolguard.web.queries import choice, json_object, only, page, transaction_id
from poolguard.web.replies import reply, reply_list
from poolguard.web.sources import CONTROL
from poolguard.web.views import STATES, statement_view, transaction_view

ACTIONS: Final = (Action.CANCEL, Action.ROLLBACK, Action.TERMINATE)


async def list_transactions(request: web.Request) -> web.Response:
    """What holds servers, oldest checkout first. Filters: pool, state, application_name; limit and offset."""
    query = request.query
    only(query, ("pool", "state", "application_name", "limit", "offset"))
    pool, application = query.get("pool"), query.get("application_name")
    state = choice(query, "state", STATES)
    phase = STATES[state] if state is not None else None
    limit, offset = page(query)
    sources = request.app[CONTROL]
    matching = [
        entry
        for entry in sources.ledger.holders.values()
        if (pool is None or entry.pool == pool)
        and (phase is None or entry.phase is phase)
        and (application is None or entry.application_name == application)
    ]
    matching.sort(key=lambda entry: entry.held_since)
    now = sources.clock.monotonic()
    facts = [transaction_facts(entry, now) for entry in matching[offset : offset + limit]]
    view = partial(transaction_view, shows_text=sources.shows_text)
    return await reply_list("transactions", facts, view, total=len(matching), limit=limit, offset=offset)


async def get_transaction(request: web.Request) -> web.Response:
    """One transaction with its latest statements, newest last; 404 when it is over."""
    only(request.query, ())
    sources = request.app[CONTROL]
    wanted = transaction_id(request)
    entry = sources.ledger.holders.get(wanted.session)
    if entry is None or entry.transaction_id != wanted:
        raise UnknownPool(f"no transaction {wanted}: it is over, or never was")
    facts = transaction_facts(entry, sources.clock.monotonic())
    recent = []
    for text in facts.recent:
        recent.append(statement_view(text, shows_text=sources.shows_text))
        await asyncio.sleep(0)  # one fingerprint may take most of what the relay can wait for
    traits = read_traits(facts)
    if not sources.shows_text:
        traits = replace(traits, text=traits.fingerprint)
    view = transaction_view(facts, shows_text=sources.shows_text)
    return reply({**view, "recent_statements": recent, "traits": traits_json(traits)})


async def explain_transaction(request: web.Request) -> web.Response:
    """What the pool's policy says of one transaction: each rule, each key, what comes next; 404 when it is over."""
    only(request.query, ())
    sources = request.app[CONTROL]
    explanation = await sources.guard.explain(transaction_id(request))
    return reply((explanation if sources.shows_text else explanation.without_text()).as_json())


async def act(request: web.Request) -> web.Response:
    """Cancel, roll back or terminate one transaction. The answer is the incident, with its outcome."""
    only(request.query, ())
    wanted, action = transaction_id(request), Action(request.match_info["action"])
    body = await json_object(request, ("actor",))
    incident = await request.app[CONTROL].guard.by_hand(wanted, action, caller(request, body.get("actor")))
    return reply(incident.as_json())


ROUTES = (
    web.get("/v1/transactions", list_transactions),
    web.get("/v1/transactions/{id}", get_transaction),
    web.get("/v1/transactions/{id}/explain", explain_transaction),
    web.post(f"/v1/transactions/{{id}}/{{action:{'|'.join(ACTIONS)}}}", act),
)
