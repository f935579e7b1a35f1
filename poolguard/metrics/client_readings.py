"""Client processes: full pools and lost slots. Pure. Names come from clients, so only so many have series."""

from collections.abc import Iterator
from typing import Final

from poolguard.guard.clients import ClientBook
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading

NAMES: Final = 50
"""Application names with series of their own: those with the most connections. The rest together are `other`."""
OTHER: Final = "other"
LONGEST_NAME: Final = 64


def client_readings(clients: ClientBook, now: float) -> Iterator[Reading]:
    """By application name, over all processes of it: the longest plateau, all lost slots."""
    sessions: dict[str, int] = {}
    full: dict[str, float] = {}
    leaked: dict[str, int] = {}
    for client in clients.clients.values():
        name = client.key.application_name[:LONGEST_NAME]
        sessions[name] = sessions.get(name, 0) + client.sessions
        full[name] = max(full.get(name, 0.0), client.full_seconds(now))
        leaked[name] = leaked.get(name, 0) + client.leaked
    most = sorted(sessions, key=lambda name: (-sessions[name], name))
    for name in most[:NAMES]:
        yield Reading(c.CLIENT_PLATEAU, (name,), full[name])
        yield Reading(c.CLIENT_LEAKED, (name,), leaked[name])
    if rest := most[NAMES:]:
        yield Reading(c.CLIENT_PLATEAU, (OTHER,), max(full[name] for name in rest))
        yield Reading(c.CLIENT_LEAKED, (OTHER,), sum(leaked[name] for name in rest))
