"""`with client.hold(...)` against a real daemon."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from poolguard.client import LeaseClient
from poolguard.core.errors import InvalidLease, LeaseLost
from tests.support.eventually import eventually
from tests.support.sidecars import Sidecar

TTL = 2.0
"""The shortest term: half of it is trusted."""


def test_a_lease_is_held_for_the_block_and_given_back_at_its_end(sidecar: Sidecar) -> None:
    with sidecar.client() as client, client.hold("block", holder="one", ttl_seconds=60) as held:
        held.check()
        assert 50 < held.remaining_seconds <= 54
        assert sidecar.holder_of("block") == "one"
        assert held.token == held.term.token > 0
    assert not held.trusted
    assert held.lost.is_set()
    assert sidecar.holder_of("block") is None


def test_it_is_renewed_for_as_long_as_the_block_lasts(sidecar: Sidecar) -> None:
    with sidecar.client() as client, client.hold("long", holder="one", ttl_seconds=TTL) as held:
        first = held.term.trusted_until
        eventually(lambda: held.term.trusted_until > first + TTL, within=10.0)
        assert held.trusted
        assert not held.lost.is_set()


def test_an_error_in_the_block_gives_it_back_too(sidecar: Sidecar) -> None:
    with pytest.raises(ZeroDivisionError), sidecar.client() as client, client.hold("error", holder="one"):
        raise ZeroDivisionError
    assert sidecar.holder_of("error") is None


def test_a_contender_waits_for_its_turn_and_gets_a_higher_token(sidecar: Sidecar) -> None:
    with sidecar.client() as client:
        with client.hold("turn", holder="one") as first:
            with pytest.raises(TimeoutError, match="was not had within"):
                client.hold("turn", holder="two", wait_seconds=0.1).start()
            token = first.token
        with client.hold("turn", holder="two", wait_seconds=10) as second:
            assert second.token > token


def test_a_contender_hears_of_a_release_long_before_the_term_would_have_ended(sidecar: Sidecar) -> None:
    with sidecar.client() as client, ThreadPoolExecutor(1) as waiting:
        first = client.hold("hear", holder="one", ttl_seconds=3600)
        first.start()
        second = client.hold("hear", holder="two", wait_seconds=30)
        entered = waiting.submit(second.start)
        first.close()
        entered.result(20)
        assert second.token > first.token
        second.close()


def test_a_term_that_is_ended_from_outside_is_lost_at_the_next_renewal(sidecar: Sidecar) -> None:
    with sidecar.client() as client, client.hold("forced", holder="one", ttl_seconds=TTL) as held:
        sidecar.force("forced")
        assert held.lost.wait(10)
        assert not held.trusted
        assert held.remaining_seconds == 0.0
        with pytest.raises(LeaseLost):
            held.check()


def test_as_many_hold_at_once_as_there_are_slots(sidecar: Sidecar) -> None:
    with sidecar.client() as client:
        with client.hold("slots", holder="one", slots=2) as one, client.hold("slots", holder="two", slots=2) as two:
            assert {one.term.name, two.term.name} == {"slots/0", "slots/1"}
            with pytest.raises(TimeoutError):
                client.hold("slots", holder="three", slots=2, wait_seconds=0.1).start()
        with client.hold("slots", holder="three", slots=2, wait_seconds=10) as three:
            assert three.term.name in {"slots/0", "slots/1"}


def test_a_request_that_is_wrong_is_told_at_once(sidecar: Sidecar) -> None:
    with pytest.raises(InvalidLease, match="leaseDurationSeconds"), sidecar.client() as client:
        client.hold("wrong", ttl_seconds=0.5).start()


def test_without_poolguard_it_is_waited_for(sidecar: Sidecar) -> None:
    with pytest.raises(TimeoutError):
        LeaseClient("http://127.0.0.1:1").hold("nobody", wait_seconds=0.1).start()
