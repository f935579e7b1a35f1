"""Whether poolguard is ready for clients, check by check, with the reason for each. Pure.

Not ready: not started, not listening, draining, or a pool that can't open a server. A pool that could until a moment
ago stays ready for a while, so that a restart of PostgreSQL doesn't take every sidecar out of service at once. Every
pool opens a server before the first client comes, so one that has never had one is not ready. Leases are reported only:
applications that don't use them must not be taken out of service for their sake.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from poolguard.pool.snapshot import PoolSnapshot

GRACE_SECONDS: Final = 30.0
"""For how long a pool that could open a server stays ready when it no longer can."""


class LeaseStore(StrEnum):
    """How the leases' own connections are."""

    OFF = "off"
    READY = "ready"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Only what is *required* decides."""

    name: str
    ok: bool
    why: str
    required: bool = True


class Readiness:
    """Remembers when each pool was last seen able to serve."""

    def __init__(self) -> None:
        self._good_at: dict[str, float] = {}

    def check_pools(self, pools: Sequence[PoolSnapshot], now: float) -> list[Check]:
        """One check for each pool; *now* is on the monotonic clock."""
        self._good_at = {pool.name: self._good_at[pool.name] for pool in pools if pool.name in self._good_at}
        return [self._check_pool(pool, now) for pool in pools]

    def _check_pool(self, pool: PoolSnapshot, now: float) -> Check:
        name = f"pool:{pool.name}"
        servers = pool.idle + pool.held
        if servers or not pool.last_error:
            if not servers and not pool.opened_total:
                return Check(name, ok=False, why="its first server is still being opened")
            self._good_at[pool.name] = now
            return Check(name, ok=True, why=f"{servers} servers open")
        good_at = self._good_at.get(pool.name)
        why = f"no server can be opened: {pool.last_error}"
        if good_at is None:
            return Check(name, ok=False, why=why)
        gone = now - good_at
        return Check(name, ok=gone <= GRACE_SECONDS, why=f"{why} (for {gone:.0f} s)")


def check_process(*, started: bool, listening: bool, draining: bool) -> list[Check]:
    """The checks that don't look at PostgreSQL."""
    return [
        Check("started", ok=started, why="started" if started else "still starting"),
        Check("listener", ok=listening, why="clients can connect" if listening else "clients can't connect"),
        Check("draining", ok=not draining, why="stopping" if draining else "not stopping"),
    ]


def check_leases(store: LeaseStore) -> Check:
    """Reported, and required by nobody."""
    why = {
        LeaseStore.OFF: "leases are switched off",
        LeaseStore.READY: "the lease store answers",
        LeaseStore.AWAY: "the lease store does not answer: leases get 503",
    }[store]
    return Check("leases", ok=store is not LeaseStore.AWAY, why=why, required=False)


def is_ready(checks: Iterable[Check]) -> bool:
    """Whether everything that is required is well."""
    return all(check.ok for check in checks if check.required)
