"""What the handlers read and call, as protocols and callables that the daemon wires."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import web

from poolguard.core.clock import Clock
from poolguard.core.ids import TransactionId
from poolguard.guard.book import IncidentBook
from poolguard.guard.clients import ClientBook
from poolguard.guard.errors import ErrorBook
from poolguard.guard.explain import Explanation
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident
from poolguard.guard.locks.state import LockState
from poolguard.ledger.book import Ledger
from poolguard.metrics.collector import Exposition
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.web.hosts import OwnNames
from poolguard.web.readiness import LeaseStore, Readiness


class Guard(Protocol):
    """Whoever carries out what a person asks for."""

    async def explain(self, transaction_id: TransactionId) -> Explanation:
        """Say what the policy says of it. Raises UnknownPool if no such transaction holds a server."""
        ...

    async def by_hand(self, transaction_id: TransactionId, action: Action, actor: str) -> Incident:
        """Do it now, outside any budget; *action* is not WARN.

        Raises UnknownPool if no such transaction holds a server.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSources:
    """What the control listener's handlers need."""

    clock: Clock
    ledger: Ledger
    pools: Callable[[], Sequence[PoolSnapshot]]
    settings: SettingsInForce
    incidents: IncidentBook
    guard: Guard
    locks: LockState
    """What the observer knows; stays empty where it is off."""
    errors: ErrorBook
    clients: ClientBook
    names: OwnNames
    routes: Iterable[web.AbstractRouteDef] = ()
    """Of other parts: the leases'."""

    @property
    def shows_text(self) -> bool:
        """Whether statements are shown, or only their fingerprints."""
        return self.settings.settings.privacy.statement_text


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSources:
    """What the metrics listener's handlers need."""

    clock: Clock
    exposition: Exposition
    pools: Callable[[], Sequence[PoolSnapshot]]
    started: Callable[[], bool]
    """Whether everything has been started once."""
    listening: Callable[[], bool]
    """Whether clients can connect."""
    draining: Callable[[], bool]
    loop_lag_seconds: Callable[[], float]
    lease_store: Callable[[], LeaseStore]
    clients: ClientBook
    readiness: Readiness = field(default_factory=Readiness)


CONTROL: Final = web.AppKey("control", ControlSources)
METRICS: Final = web.AppKey("metrics", MetricsSources)
