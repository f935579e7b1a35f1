"""What a scrape reads: the ledger, snapshots of pools, and counters of the parts that do the work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from poolguard.core.clock import Clock
from poolguard.core.histogram import WAIT_BOUNDS, Histogram
from poolguard.guard.clients import ClientBook
from poolguard.guard.counters import CourierCounters, GuardCounters
from poolguard.guard.errors import ErrorBook
from poolguard.guard.locks.state import LockState
from poolguard.lease.counters import LeaseCounters
from poolguard.ledger.book import Ledger
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.relay.counters import RelayCounters
from poolguard.settings.model import Settings


class ReloadResult(StrEnum):
    """What became of an attempt to reload."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    """The file has problems: the settings in force stay."""


@dataclass(slots=True)
class SettingsInForce:
    """The settings that run now. Whoever reloads writes here."""

    settings: Settings
    hash: str
    """Short and stable: equal settings, equal hash. No secret goes into it."""
    source: str
    """The file's path, or what was used in place of a file."""
    loaded_at: float
    """Wall clock."""
    warnings: tuple[str, ...] = ()
    reloads: dict[ReloadResult, int] = field(default_factory=lambda: dict.fromkeys(ReloadResult, 0))
    last_refusal: str = ""
    """Why the latest attempt to reload was refused; empty once one succeeded. Holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that a scrape reads. What is None has no metrics."""

    clock: Clock
    ledger: Ledger
    pools: Callable[[], Sequence[PoolSnapshot]]
    """All pools, in the order of the settings."""
    settings: SettingsInForce
    relay: RelayCounters | None = None
    guard: GuardCounters | None = None
    webhook: CourierCounters | None = None
    kubernetes: CourierCounters | None = None
    leases: LeaseCounters | None = None
    foreign: GuardCounters | None = None
    """What was done to lock holders that are not ours."""
    locks: LockState | None = None
    errors: ErrorBook | None = None
    clients: ClientBook | None = None
    loop: str = "asyncio"
    """Which event loop runs: asyncio or uvloop."""
    loop_blocks: Mapping[str, int] = field(default_factory=dict)
    """How often something kept the loop for long, by place in the code."""
    loop_lag: Histogram = field(default_factory=lambda: Histogram(WAIT_BOUNDS))
