"""Clocks that are set: faults 8 and 9."""

import time

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.core.errors import LeaseHeld, LeaseLost
from poolguard.lease.manager import LeaseManager
from poolguard.lease.store import LeaseStore
from poolguard.lease.terms import TermKey, Wanted
from poolguard.settings.model import Leases
from tests.support.cluster import Database
from tests.support.history import boottime
from tests.support.scene import Scene


class SetClock(SystemClock):
    """A host whose wall clock somebody sets."""

    ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


@pytest.mark.parametrize("hours", [1, -1])
async def test_fault_8_the_wall_clock_of_a_sidecars_host_means_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    clock, settings = SetClock(), Leases()
    manager = LeaseManager(LeaseStore(database.dsn, settings, clock), settings, clock)
    other = LeaseManager(LeaseStore(database.dsn, settings, SystemClock()), settings, SystemClock())
    await manager.start()
    await other.start()
    acquired = await manager.acquire(Wanted(name="a", holder="one", ttl_seconds=30.0, request_id="r1"))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    clock.ahead = hours * 3600.0

    belief = manager.leader("a")
    assert belief is not None
    assert 26 < belief.trusted_until - boottime() <= 27
    with pytest.raises(LeaseHeld):
        await other.acquire(Wanted(name="a", holder="two", ttl_seconds=30.0, request_id="r2"))
    renewed = await manager.renew(TermKey("a", "one", acquired.standing.row.token))
    assert 26 < renewed.valid_for_seconds <= 27
    await manager.stop()
    await other.stop()


def test_fault_9_after_a_step_of_postgresqls_clock_the_token_still_fences(scene: Scene) -> None:
    """I2 can't be had then, and the pages say so; I1 and I3 hold. Terms that move back are a clock that moves on."""
    holder, other = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(holder, ttl=30.0)
    assert scene.write(term)
    with scene.database.connect() as admin:
        admin.execute("UPDATE poolguard.lease SET expires_at = expires_at - interval '1 hour'")
    assert not scene.write(term)
    following = scene.elected(other, ttl=30.0)
    assert following.token > term.token
    assert scene.write(following)
    assert not scene.write(term)
    with pytest.raises(LeaseLost):
        holder.renew(term)
    scene.judge(excused="I2")
