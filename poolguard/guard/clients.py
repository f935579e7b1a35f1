"""What client processes do with their own pools of connections: whether one is full, and slots that it has lost. Pure.

poolguard can't see the queue inside an application. But it sees its connections: all of them busy, as many as there
ever were, for seconds on end, is a pool in the application that has nothing left to give (a plateau); what its
connections do then says why. And a connection whose transaction the guard has ended, and whose client says nothing,
is a slot of that pool that its code has forgotten: only a restart of the process brings it back.

A process is known by application_name, user and host: processes that share all three count as one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from poolguard.ledger.entries import Phase, SessionEntry

FORGET_SECONDS: Final = 3600.0
"""A process without connections is forgotten after this long, with its most connections ever."""
MOST_CLIENTS: Final = 1000

_FREE: Final = (Phase.IDLE, Phase.LOGIN)


class ClientKey(NamedTuple):
    """How processes are told apart."""

    application_name: str
    user: str
    host: str
    """The address without its port, or `unix`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One process, as of the latest look."""

    key: ClientKey
    sessions: int
    phases: Mapping[Phase, int]
    pools: tuple[str, ...]
    most_sessions: int
    """The most connections that it ever had at once."""
    full_since: float | None
    """Since when (monotonic) all its connections have been busy, as many as it ever had; None: they are not."""
    seen_at: float

    @property
    def busy(self) -> int:
        """Connections in the middle of something: they hold a server, wait for one, or are in a transaction."""
        return self.sessions - sum(self.phases.get(phase, 0) for phase in _FREE)

    @property
    def leaked(self) -> int:
        """Connections whose transaction was ended by the guard and whose client has not spoken since."""
        return self.phases.get(Phase.ENDED, 0)

    def full_seconds(self, now: float) -> float:
        """How long the plateau has lasted; 0 for none."""
        return max(0.0, now - self.full_since) if self.full_since is not None else 0.0


def key_of(entry: SessionEntry) -> ClientKey:
    """Whose connection *entry* is."""
    return ClientKey(entry.application_name, entry.user, host_of(entry.client_address))


def host_of(address: str) -> str:
    """`127.0.0.1:40312` without its port; `unix` as it is."""
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdigit() else address


class ClientBook:
    """Remembers of each process what one look can't tell."""

    def __init__(self) -> None:
        self.clients: dict[ClientKey, Client] = {}

    def see(self, counts: Mapping[ClientKey, Mapping[tuple[str, Phase], int]], now: float) -> None:
        """Take in who has how many connections, by pool and phase."""
        for key, by_pool in counts.items():
            self._see(key, by_pool, now)
        for key in self.clients.keys() - counts.keys():
            client = self.clients[key]
            if now - client.seen_at > FORGET_SECONDS or len(self.clients) > MOST_CLIENTS:
                del self.clients[key]
            elif client.sessions:
                self.clients[key] = replace(client, sessions=0, phases={}, full_since=None)

    def _see(self, key: ClientKey, by_pool: Mapping[tuple[str, Phase], int], now: float) -> None:
        before = self.clients.get(key)
        if before is None and len(self.clients) >= MOST_CLIENTS:
            return
        phases: dict[Phase, int] = {}
        for (_, phase), number in by_pool.items():
            phases[phase] = phases.get(phase, 0) + number
        sessions = sum(phases.values())
        most = max(sessions, before.most_sessions if before is not None else 0)
        client = Client(
            key=key,
            sessions=sessions,
            phases=phases,
            pools=tuple(sorted({pool for pool, _ in by_pool})),
            most_sessions=most,
            full_since=None,
            seen_at=now,
        )
        # One connection that works is no pool that has run out.
        if sessions > 1 and client.busy == sessions == most:
            since = before.full_since if before is not None else None
            client = replace(client, full_since=now if since is None else since)
        self.clients[key] = client


def tally(
    counts: dict[ClientKey, dict[tuple[str, Phase], int]], entries: Iterable[SessionEntry]
) -> dict[ClientKey, dict[tuple[str, Phase], int]]:
    """Add *entries* to *counts*, and return it."""
    for entry in entries:
        by_pool = counts.setdefault(key_of(entry), {})
        place = (entry.pool, entry.phase)
        by_pool[place] = by_pool.get(place, 0) + 1
    return counts
