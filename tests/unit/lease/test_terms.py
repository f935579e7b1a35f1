"""Limits on what a caller may say, each with an error that tells what may be written."""

import math

import pytest

from poolguard.core.errors import InvalidLease
from poolguard.lease import terms


@pytest.mark.parametrize("name", ["a", "team/job", "shard:7", "A.b_c-d", "x" * 128, "renew", "events/a"])
def test_good_names(name: str) -> None:
    assert terms.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "a b", "ä", "a\n", "a%", "/a", "a/", "a//b", "a/../b", ".", "a/renew", "a/events", "a\0"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidLease, match="lease's name"):
        terms.check_name(name)


@pytest.mark.parametrize("holder", ["", "x" * 257, None, 7, "a\nb", "\0", "\ud800"])
def test_bad_holders(holder: object) -> None:
    with pytest.raises(InvalidLease, match="holderIdentity"):
        terms.check_holder(holder)


@pytest.mark.parametrize("seconds", [2, 2.0, 15, 86_400, 2.5])
def test_good_ttls(seconds: float) -> None:
    assert terms.check_ttl(seconds) == seconds


@pytest.mark.parametrize("seconds", [1.99, 0, -5, 86_401, math.nan, math.inf, "15", True, None, [15], 10**400])
def test_bad_ttls(seconds: object) -> None:
    with pytest.raises(InvalidLease, match="leaseDurationSeconds"):
        terms.check_ttl(seconds)


@pytest.mark.parametrize("token", [0, -1, 2**53, 1.0, "7", True, None])
def test_bad_tokens(token: object) -> None:
    with pytest.raises(InvalidLease, match="token"):
        terms.check_token(token)


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", 7, None, "a/b"])
def test_bad_request_ids(request_id: object) -> None:
    with pytest.raises(InvalidLease, match="requestId"):
        terms.check_request_id(request_id)


@pytest.mark.parametrize("metadata", [None, {}, {"a": [1, None, "ü"]}, {"a": "x" * 4000}, {"a": "\\u0000 in words"}])
def test_good_metadata(metadata: object) -> None:
    assert terms.check_metadata(metadata) == metadata


@pytest.mark.parametrize(
    "metadata",
    [[], "x", 7, {"a": "x" * 4096}, {"a": math.nan}, {"a": "\0"}, {"\0": 1}, {"a": "\\\0"}, {"a": "\ud800"}],
)
def test_bad_metadata(metadata: object) -> None:
    with pytest.raises(InvalidLease, match="metadata"):
        terms.check_metadata(metadata)


def test_deeply_nested_metadata_is_refused_and_no_crash() -> None:
    nested: object = 1
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidLease, match="metadata"):
        terms.check_metadata({"a": nested})
