"""Rules of the lease API's JSON: what requests may say, and how leases are shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest

from poolguard.core.errors import InvalidLease
from poolguard.lease.book import Belief
from poolguard.lease.manager import Standing
from poolguard.lease.terms import Row, TermKey, Wanted
from poolguard.web import lease_schemas


def acquire(given: Mapping[str, object]) -> tuple[Wanted, bool]:
    return lease_schemas.parse_acquire(given, name="jobs/nightly", default_ttl_seconds=15.0)


def test_an_acquire_is_read_whole() -> None:
    given = {
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 30,
        "requestId": "r-1",
        "metadata": {"zone": "a"},
        "slots": 2,
    }
    assert given.keys() == set(lease_schemas.ACQUIRE_KEYS)
    wish = Wanted(
        name="jobs/nightly", holder="pod-1", ttl_seconds=30.0, request_id="r-1", metadata={"zone": "a"}, slots=2
    )
    assert acquire(given) == (wish, True)


def test_what_an_acquire_leaves_out_is_filled_in() -> None:
    first, chosen = acquire({"holderIdentity": "pod-1"})
    second, _ = acquire({"holderIdentity": "pod-1", "leaseDurationSeconds": None, "requestId": None})
    assert (first.ttl_seconds, second.ttl_seconds, first.metadata, chosen) == (15.0, 15.0, None, False)
    assert first.request_id != second.request_id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"holderIdentity": None}, "holderIdentity"),
        ({"holderIdentity": 7}, "holderIdentity"),
        ({"holderIdentity": ""}, "holderIdentity"),
        ({"leaseDurationSeconds": "30"}, "leaseDurationSeconds"),
        ({"leaseDurationSeconds": True}, "leaseDurationSeconds"),
        ({"leaseDurationSeconds": 0}, "leaseDurationSeconds"),
        ({"leaseDurationSeconds": float("nan")}, "leaseDurationSeconds"),
        ({"requestId": ""}, "requestId"),
        ({"requestId": 3}, "requestId"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_bad_acquire_is_told_which_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidLease, match=field):
        acquire({"holderIdentity": "pod-1", **change})


def test_renew_and_release_name_one_term() -> None:
    term = TermKey("jobs", "pod-1", 7)
    assert lease_schemas.parse_renew({"holderIdentity": "pod-1", "token": 7}, name="jobs") == (term, None)
    assert lease_schemas.parse_release({"holderIdentity": "pod-1", "token": "7"}, name="jobs") == term


@pytest.mark.parametrize("token", ["7", 0, -1, True, 1.0, None, 2**53])
def test_a_renewal_needs_a_token_that_is_a_number(token: object) -> None:
    with pytest.raises(InvalidLease, match="token"):
        lease_schemas.parse_renew({"holderIdentity": "pod-1", "token": token}, name="jobs")


@pytest.mark.parametrize("token", ["", "x", "-1", "+1", "1.0", " 1", "0", "²", "٣", "9" * 20, "1" * 5000])
def test_a_release_needs_a_token_of_digits(token: str) -> None:
    with pytest.raises(InvalidLease, match="token"):
        lease_schemas.parse_release({"holderIdentity": "pod-1", "token": token}, name="jobs")


def test_a_release_without_token_or_holder_is_refused() -> None:
    for query, field in (({"holderIdentity": "pod-1"}, "token"), ({"token": "1"}, "holderIdentity")):
        with pytest.raises(InvalidLease, match=field):
            lease_schemas.parse_release(query, name="jobs")


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({}, ("", "", lease_schemas.DEFAULT_PAGE)),
        ({"after": "a/b", "prefix": "a/", "limit": "1"}, ("a/b", "a/", 1)),
        ({"limit": str(lease_schemas.MAX_PAGE)}, ("", "", lease_schemas.MAX_PAGE)),
    ],
)
def test_a_page_has_defaults_and_limits(query: dict[str, str], page: tuple[str, str, int]) -> None:
    assert lease_schemas.parse_page(query) == page


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": str(lease_schemas.MAX_PAGE + 1)}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"after": "a b"}, "after and prefix"),
        ({"prefix": "a%"}, "after and prefix"),
        ({"prefix": "a" * 129}, "after and prefix"),
    ],
)
def test_a_bad_page_is_refused(query: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidLease, match=why):
        lease_schemas.parse_page(query)


def row(*, holder: str | None, ttl_seconds: float, at: datetime | None) -> Row:
    return Row(
        name="jobs",
        holder=holder,
        request_id="secret-wish",
        token=7,
        timeline=1,
        ttl_seconds=ttl_seconds,
        acquired_at=at,
        renewed_at=at,
        transitions=3,
        metadata={"zone": "a"},
        valid_for_seconds=9.0,
    )


def test_a_lease_is_shown_in_utc_and_its_validity_rounded_down() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=timezone(timedelta(hours=2)))
    shown = lease_schemas.lease(Standing(row(holder="pod-1", ttl_seconds=15.0, at=at), 8.9999))
    assert shown == {
        "name": "jobs",
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-02T01:04:05.000600Z",
        "renewTime": "2026-01-02T01:04:05.000600Z",
        "leaseTransitions": 3,
        "token": 7,
        "validForMs": 8999,
        "metadata": {"zone": "a"},
        "stepDownRequested": False,
    }
    assert isinstance(shown["leaseDurationSeconds"], int)


def test_a_lease_that_nobody_holds_has_no_times() -> None:
    shown = lease_schemas.lease(Standing(row(holder=None, ttl_seconds=2.5, at=None), 0.0))
    assert (shown["holderIdentity"], shown["acquireTime"], shown["renewTime"]) == (None, None, None)
    assert (shown["leaseDurationSeconds"], shown["validForMs"]) == (2.5, 0)


def test_the_request_id_is_nobody_elses_business() -> None:
    shown = lease_schemas.lease(Standing(row(holder="pod-1", ttl_seconds=15.0, at=datetime.now(UTC)), 1.0))
    assert "secret-wish" not in str(shown)


def test_a_leader_is_shown_by_what_this_process_trusts() -> None:
    belief = Belief(name="jobs", holder="pod-1", token=7, transitions=3, sent_at=1.0, trusted_until=9.0)
    assert lease_schemas.leader(belief, 1.2349) == {
        "name": "jobs",
        "holderIdentity": "pod-1",
        "token": 7,
        "validForMs": 1234,
    }
