"""Whether poolguard is ready for clients, check by check, with the reason for each. Pure.

Not ready: not started, not listening, draining, or a pool that has not opened its first server yet, for that would be
a rollout of settings that don't work. Once all pools could serve, PostgreSQL decides no more: every replica sees the
same one, so turning unready when it goes would take them all out of their Service at once, and the network would refuse
clients where poolguard lets them wait, or says what is wrong. It is still told. So are leases: applications that don't
use them must not be taken out of service for their sake.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from poolguard.pool.snapshot import PoolSnapshot


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
    """Remembers that all pools could serve once."""

    def __init__(self) -> None:
        self._served = False

    def check_pools(self, pools: Sequence[PoolSnapshot]) -> list[Check]:
        """One check for each pool."""
        checks = [_check_pool(pool, required=not self._served) for pool in pools]
        self._served = self._served or all(check.ok for check in checks)
        return checks


def _check_pool(pool: PoolSnapshot, *, required: bool) -> Check:
    name = f"pool:{pool.name}"
    if servers := pool.idle + pool.held:
        return Check(name, ok=True, why=f"{servers} server{'s' * (servers != 1)} open", required=required)
    if pool.last_error:
        return Check(name, ok=False, why=f"no server can be opened: {pool.last_error}", required=required)
    if not pool.opened_total:
        return Check(name, ok=False, why="its first server is still being opened", required=required)
    return Check(name, ok=True, why="no server open; the next client opens one", required=required)


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
