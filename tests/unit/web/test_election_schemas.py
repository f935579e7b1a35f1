"""What a campaign may ask for."""

import os

import pytest

from poolguard.core.errors import InvalidLease
from poolguard.lease.terms import StepDown
from poolguard.web import election_schemas as schemas


def parse(**body: object) -> schemas.Asked:
    return schemas.parse_campaign({"holderIdentity": "pod-1", **body}, name="a", default_ttl_seconds=15.0)


def test_defaults() -> None:
    asked = parse()
    assert (asked.wish.ttl_seconds, asked.liveness_seconds, asked.prove, asked.wish.slots) == (15.0, 15.0, None, 1)
    assert parse().wish.request_id != asked.wish.request_id, "a campaign without requestId is one of its own"
    assert parse(leaseDurationSeconds=30).liveness_seconds == 30.0


def test_checks_are_prepared() -> None:
    assert parse(checkPid=os.getpid()).prove is not None
    assert parse(checkUrl="http://localhost:8080/healthz").prove is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"livenessSeconds": 0.5}, "livenessSeconds"),
        ({"livenessSeconds": 3601}, "livenessSeconds"),
        ({"livenessSeconds": True}, "livenessSeconds"),
        ({"livenessSeconds": float("nan")}, "livenessSeconds"),
        ({"slots": 0}, "slots"),
        ({"slots": 65}, "slots"),
        ({"slots": True}, "slots"),
        ({"checkPid": 0}, "checkPid"),
        ({"checkUrl": "ftp://localhost"}, "checkUrl"),
        ({"checkPid": 7, "checkUrl": "http://localhost"}, "not both"),
        ({"holderIdentity": ""}, "holderIdentity"),
    ],
)
def test_a_bad_campaign_is_told_which_field(body: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidLease, match=field):
        parse(**body)


def test_step_down() -> None:
    assert schemas.parse_step_down({}) == StepDown(15.0)
    assert schemas.parse_step_down({"holdOffSeconds": 0, "preferredHolder": "pod-2"}) == StepDown(0.0, "pod-2")


@pytest.mark.parametrize("body", [{"holdOffSeconds": -1}, {"holdOffSeconds": 3601}, {"preferredHolder": ""}])
def test_a_bad_step_down_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(InvalidLease):
        schemas.parse_step_down(body)


def test_a_withdrawal_names_the_campaign() -> None:
    assert schemas.parse_withdraw({"requestId": "c1"}) == "c1"
    with pytest.raises(InvalidLease):
        schemas.parse_withdraw({})
