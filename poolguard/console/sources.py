"""What the console reads and calls, as protocols and callables that the daemon wires."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from poolguard.core.clock import Clock
from poolguard.core.ids import TransactionId
from poolguard.guard.book import IncidentBook
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident
from poolguard.guard.locks.state import LockState
from poolguard.lease.manager import Standing
from poolguard.ledger.book import Ledger
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot


class Guard(Protocol):
    """Whoever carries out what a person asks for."""

    async def by_hand(self, transaction_id: TransactionId, action: Action, actor: str) -> Incident:
        """Do it now, outside any budget. Raises UnknownPool if no such transaction holds a server."""
        ...


class Leases(Protocol):
    """Whoever knows of leases."""

    async def list(self, *, after: str = "", prefix: str = "", limit: int = 100) -> Sequence[Standing]:
        """Leases by name. Raises LeaseUnavailable, LeaseUnknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSources:
    """What the console needs."""

    clock: Clock
    ledger: Ledger
    pools: Callable[[], Sequence[PoolSnapshot]]
    settings: SettingsInForce
    incidents: IncidentBook
    guard: Guard
    locks: LockState
    """What the observer knows; stays empty where it is off."""
    leases: Leases | None
    """None where they are off."""

    @property
    def shows_text(self) -> bool:
        """Whether statements are shown, or only their fingerprints."""
        return self.settings.settings.privacy.statement_text
