"""Networks that lose, cut and delay: faults 3, 22."""

import threading
from uuid import uuid4

import pytest

from poolguard.client import Term
from poolguard.core.errors import LeaseLost, LeaseUnavailable, LeaseUnknown, PoolguardError
from tests.support.proxy import BOTH, Way
from tests.support.scene import TTL, Scene


@pytest.mark.parametrize("ways", [BOTH, (Way.TO_SERVER,), (Way.FROM_SERVER,)], ids=["both", "there", "back"])
def test_fault_3_a_holder_that_is_cut_off_stops_before_another_begins(scene: Scene, ways: tuple[Way, ...]) -> None:
    proxy = scene.way(scene.database.host, scene.database.port)
    cut_off, other = scene.holder(scene.pod_behind(proxy)), scene.holder(scene.pod())
    term = scene.elected(cut_off)
    scene.network.call(proxy.silence, *ways)
    with pytest.raises((LeaseUnknown, LeaseUnavailable)):
        cut_off.renew(term)
    following = scene.elected(other)
    assert following.token > term.token
    assert cut_off.leader("a") is None
    scene.network.call(proxy.heal)
    scene.healed()
    following = other.renew(following)

    def told() -> bool:
        try:
            cut_off.renew(term)
        except LeaseLost:
            return True
        except PoolguardError:
            return False
        return False

    for _ in range(20):
        if told():
            break
    else:
        pytest.fail("never told that its term is over")
    scene.judge()


def test_fault_3_a_grant_whose_answer_was_lost_is_found_again_by_its_request(scene: Scene) -> None:
    """I8: one request, one term, whatever became of the answer."""
    proxy = scene.way(scene.database.host, scene.database.port)
    holder, other = scene.holder(scene.pod_behind(proxy)), scene.holder(scene.pod())
    for number in range(12):
        name, request_id = f"n{number}", str(uuid4())
        # Somewhere in the answers to the statements of an acquire: before, in or after the one that tells of its end.
        scene.network.call(proxy.cut_after, number * 90, Way.FROM_SERVER)
        terms: list[Term] = []
        while not terms:
            try:
                terms.append(holder.acquire(name, ttl=30.0, request_id=request_id))
            except PoolguardError:
                scene.network.call(proxy.heal)
        scene.network.call(proxy.heal)
        terms.append(holder.acquire(name, ttl=30.0, request_id=request_id))
        assert terms[0].token == terms[1].token
        with scene.database.connect() as admin:
            found = admin.execute("SELECT transitions, token FROM poolguard.lease WHERE name = %s", [name]).fetchone()
        assert found == (1, terms[0].token)
        with pytest.raises(PoolguardError):
            other.acquire(name, ttl=30.0, request_id=str(uuid4()))
    scene.judge()


def test_fault_3_connections_that_are_reset_cost_a_renewal_nothing(scene: Scene) -> None:
    proxy = scene.way(scene.database.host, scene.database.port)
    holder = scene.holder(scene.pod_behind(proxy))
    term = scene.elected(holder, ttl=10.0)
    for _ in range(10):
        scene.network.call(proxy.cut)
        term = holder.renew(term)
    scene.judge()


def test_fault_22_an_answer_that_comes_late_is_no_longer_trust(scene: Scene) -> None:
    """Trust counts from when the request was sent: what a slow answer allows is less, and may be nothing."""
    proxy = scene.way(scene.database.host, scene.database.port)
    slow, other = scene.holder(scene.pod_behind(proxy)), scene.holder(scene.pod())
    term = scene.elected(slow)
    contending = threading.Thread(target=scene.elected, args=(other,))
    contending.start()
    scene.network.call(proxy.delay, 0.1)
    for _ in range(5):
        try:
            term = slow.renew(term)
        except PoolguardError:
            break
        assert term.remaining_seconds() < TTL - 1.0 - 0.1
        slow.leader("a")
    scene.network.call(proxy.heal)
    contending.join(20)
    scene.judge()
