"""Which sessions end with which lease."""

import pytest

from poolguard.core.errors import InvalidLease, NotLeader
from poolguard.core.ids import SessionId
from poolguard.relay.bound import Bound, lease_of, no_leases


def test_the_parameter_is_ours_whatever_its_case_and_never_reaches_postgresql() -> None:
    assert lease_of({"Poolguard.Lease": "a", "TimeZone": "UTC"}) == ("a", {"TimeZone": "UTC"})
    assert lease_of({"TimeZone": "UTC"}) == ("", {"TimeZone": "UTC"})


def test_who_names_no_lease_is_refused_rather_than_left_unbound() -> None:
    with pytest.raises(InvalidLease, match="names no lease") as caught:
        lease_of({"poolguard.lease": ""})
    assert caught.value.sqlstate == "22023"


def test_the_consoles_token_never_reaches_postgresql() -> None:
    assert lease_of({"Poolguard.Admin_Token": "secret", "TimeZone": "UTC"}) == ("", {"TimeZone": "UTC"})


def test_only_a_lease_that_is_held_here_can_be_bound_to() -> None:
    bound = Bound({"a"}.__contains__)
    bound.bind(SessionId(1), "a")
    bound.bind(SessionId(2), "a")
    with pytest.raises(NotLeader) as caught:
        bound.bind(SessionId(3), "b")
    assert caught.value.sqlstate == "55000"
    assert bound.to("a") == [1, 2]
    bound.unbind(SessionId(1))
    bound.unbind(SessionId(9))
    assert (bound.to("a"), bound.to("b")) == ([2], [])


def test_without_leases_nobody_leads() -> None:
    with pytest.raises(NotLeader):
        Bound(no_leases).require("a")
