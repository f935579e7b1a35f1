"""The console over a real ledger, hand-made snapshots and leases in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from poolguard.console.sources import ConsoleSources
from poolguard.guard.book import IncidentBook
from poolguard.guard.locks.state import LockState
from poolguard.lease.manager import Standing
from poolguard.ledger.book import Ledger
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Auth, Settings
from poolguard.wire.startup import Startup
from tests.support.clock import ManualClock
from tests.support.web import PlainGuard


def asked(database: str = "poolguard", *, user: str = "ops", replication: str = "", **options: str) -> Startup:
    """What a client says at its start."""
    return Startup(
        major=3, minor=0, user=user, database=database, replication=replication, options=tuple(options.items())
    )


@dataclass
class PlainLeases:
    """Leases in the order of their names, and the pages that were asked for."""

    kept: Sequence[Standing]
    pages: list[tuple[str, int]] = field(default_factory=list)

    async def list(self, *, after: str = "", prefix: str = "", limit: int = 100) -> Sequence[Standing]:
        self.pages.append((after, limit))
        return [lease for lease in self.kept if lease.row.name > after and lease.row.name.startswith(prefix)][:limit]


@dataclass
class Behind:
    """What is behind a console."""

    admin_token: str = ""
    pools: list[PoolSnapshot] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    clock: ManualClock = field(default_factory=ManualClock)
    locks: LockState = field(default_factory=LockState)
    leases: PlainLeases | None = None

    def __post_init__(self) -> None:
        self.guard = PlainGuard(self.ledger)
        self.book = IncidentBook(self.clock, lambda _: None, settings_hash="abc123")

    @property
    def sources(self) -> ConsoleSources:
        return ConsoleSources(
            clock=self.clock,
            ledger=self.ledger,
            pools=lambda: self.pools,
            settings=SettingsInForce(
                settings=Settings(auth=Auth(admin_token=self.admin_token)),
                hash="abc123",
                source="poolguard.yaml",
                loaded_at=0.0,
            ),
            incidents=self.book,
            guard=self.guard,
            locks=self.locks,
            leases=self.leases,
        )
