"""What a pool looks like at one moment: for metrics, web and console."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from poolguard.core.histogram import Histogram
from poolguard.pool.lane import LaneSnapshot


class CloseReason(StrEnum):
    """Why a server was closed. The same value in log, metric and test."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    LOST = "lost"
    """PostgreSQL closed it, or the network did."""
    NOISE = "noise"
    """It said something that nobody asked for."""
    DIRTY = "dirty"
    """It could not be made clean for the next client."""
    TERMINATED = "terminated"
    """The guard or an operator ended what ran on it."""
    FAILOVER = "failover"
    """It leads to a standby, or a PostgreSQL turned read-only, in a pool that could write before."""
    SHRUNK = "shrunk"
    """A reload made the pool smaller, or moved it to another PostgreSQL."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """One pool. idle + held + opening never exceeds size, but for a while after a reload that shrank it."""

    name: str
    mode: str
    policy: str
    size: int
    max_waiting: int
    idle: int
    held: int
    """Includes servers that are being reset."""
    opening: int
    waiting: int
    oldest_wait_seconds: float
    sessions: int
    pinned: int
    checkouts_total: int
    wait_timeouts_total: int
    queue_full_total: int
    opened_total: int
    open_failures_total: int
    closed_total: Mapping[CloseReason, int]
    wait_seconds: Histogram
    """Every wait, also those that timed out; checkouts that did not wait are not counted here."""
    checkout_seconds: Histogram
    retry_in_seconds: float
    """While opening servers fails: when the next attempt is due; else 0."""
    last_error: str
    """Why opening a server failed last, while it still fails; else empty. Holds no secret."""
    lanes: tuple[LaneSnapshot, ...] = ()
