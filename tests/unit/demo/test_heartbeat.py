"""A lease is renewed all the while, and every renewal that was not granted is noted."""

import pytest

from poolguard.demo.api import ApiFailed
from poolguard.demo.heartbeat import Beats, Heartbeat, summarise
from tests.support.eventually import eventually
from tests.unit.demo.listener import HANG_UP, Listener

GRANTED = (201, {"token": 7})
RENEWED = (200, {"token": 7})
LOST = (409, {"error": "lease_lost"})


def heartbeat(listener: Listener) -> Heartbeat:
    return Heartbeat(listener.port, lease="demo/it", holder="me", ttl_seconds=3, every_seconds=0.001)


def test_it_acquires_renews_that_very_term_and_releases() -> None:
    with Listener([GRANTED, RENEWED]) as listener:
        with heartbeat(listener) as heart:
            assert heart.token == 7
            eventually(lambda: heart.beats().renewed >= 3)
        acquire, *renewals, release = listener.requests
        beats = heart.beats()
    assert (acquire.method, acquire.path) == ("PUT", "/v1/leases/demo/it")
    assert acquire.body == {"holderIdentity": "me", "leaseDurationSeconds": 3}
    assert {renewal.path for renewal in renewals} == {"/v1/leases/demo/it/renew"}
    assert renewals[0].body == {"holderIdentity": "me", "token": 7}
    assert (release.method, release.path) == ("DELETE", "/v1/leases/demo/it?holderIdentity=me&token=7")
    assert beats.missed == ()
    assert beats.renewed == len(renewals)
    assert 0 < beats.median_seconds <= beats.worst_seconds


def test_a_renewal_that_was_not_granted_is_noted_with_its_reason() -> None:
    with Listener([GRANTED, RENEWED, LOST, RENEWED]) as listener, heartbeat(listener) as heart:
        eventually(lambda: heart.beats().renewed >= 2)
        assert heart.stop().missed == ("409 lease_lost",)


def test_another_term_is_not_a_renewal() -> None:
    with Listener([GRANTED, (200, {"token": 8})]) as listener, heartbeat(listener) as heart:
        eventually(lambda: heart.beats().missed)
        assert heart.stop().renewed == 0


def test_a_renewal_without_an_answer_is_missed() -> None:
    with Listener([GRANTED, RENEWED, (HANG_UP, None), RENEWED]) as listener, heartbeat(listener) as heart:
        eventually(lambda: heart.beats().renewed >= 2)
        missed = heart.stop().missed
    assert len(missed) == 1
    assert "POST /v1/leases/demo/it/renew" in missed[0]


def test_a_store_that_is_not_ready_yet_is_asked_again() -> None:
    with Listener([(503, {}), (503, {}), GRANTED, RENEWED]) as listener, heartbeat(listener) as heart:
        assert heart.token == 7


def test_a_lease_that_another_holds_is_an_error() -> None:
    with Listener([(409, {"message": "held by other"})]) as listener:
        with pytest.raises(ApiFailed, match="409 held by other"):
            heartbeat(listener).__enter__()
        assert len(listener.requests) == 1


def test_latencies_and_gaps_are_summed_up() -> None:
    assert summarise([0.002, 0.009, 0.004], [1.0, 1.25, 1.75], ["x"]) == Beats(
        renewed=3, missed=("x",), median_seconds=0.004, worst_seconds=0.009, longest_gap_seconds=0.5
    )
    assert summarise([], [], []).renewed == 0
