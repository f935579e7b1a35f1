import subprocess
import sys

import pytest

from poolguard.client import LeaseClient
from poolguard.client.term import boottime
from poolguard.core.errors import LeaseUnknown
from tests.unit.client.listener import at_index, lease, listening


def test_acquire_sends_a_request_id_and_counts_trust_from_before_it_was_sent() -> None:
    with listening((201, lease(token=9, valid_for_ms=5000))) as script, LeaseClient(script.url) as client:
        before = boottime()
        term = client.acquire("a", holder="pod-1", ttl_seconds=15, metadata={"zone": "b"})
        after = boottime()
    assert (term.name, term.holder, term.token, term.ttl_seconds) == ("a", "pod-1", 9, 15.0)
    assert before <= term.trusted_until - 5.0 <= after
    ((method, path, body),) = script.asked
    assert (method, path) == ("PUT", "/v1/leases/a")
    assert len(body.pop("requestId")) == 36
    assert body == {"holderIdentity": "pod-1", "leaseDurationSeconds": 15, "metadata": {"zone": "b"}}


def test_renew_and_release_name_exactly_one_term() -> None:
    with (
        listening((201, lease()), (200, lease(stepDownRequested=True)), (204, None)) as script,
        LeaseClient(script.url) as client,
    ):
        term = client.renew(client.acquire("a", holder="pod-1"))
        client.release(term)
    assert term.step_down
    assert script.asked[1:] == [
        ("POST", "/v1/leases/a/renew", {"holderIdentity": "pod-1", "token": 7}),
        ("DELETE", "/v1/leases/a?holderIdentity=pod-1&token=7", None),
    ]


def test_pages_are_followed_to_the_end() -> None:
    with (
        listening((200, {"leases": [lease()], "next": "a"}), (200, {"leases": [lease()], "next": None})) as script,
        LeaseClient(script.url) as client,
    ):
        assert len(list(client.list(prefix="x"))) == 2
    assert [path for _, path, _ in script.asked] == [
        "/v1/leases?after=&prefix=x&limit=100",
        "/v1/leases?after=a&prefix=x&limit=100",
    ]


def test_what_nobody_has_held_and_nobody_leads_is_none() -> None:
    refusals = [(404, {"error": "lease_not_found"}), (503, {"error": "not_leader"})]
    with listening(*refusals) as script, LeaseClient(script.url) as client:
        assert client.get("a") is None
        assert client.leader("a") is None


def test_waiting_for_a_release_goes_on_from_the_index_that_was_seen_and_ends_with_the_term() -> None:
    replies = [at_index(3, lease()), at_index(3, lease()), at_index(4, lease(valid_for_ms=0))]
    with listening(*replies) as script, LeaseClient(script.url) as client:
        client.wait_until_free("a", 60.0)
    assert [path for _, path, _ in script.asked] == [
        "/v1/leases/a",
        "/v1/leases/a?index=3&wait=2000ms",
        "/v1/leases/a?index=3&wait=2000ms",
    ]


def test_waiting_for_a_release_lasts_no_longer_than_it_may() -> None:
    with listening(at_index(3, lease())) as script, LeaseClient(script.url) as client:
        client.wait_until_free("a", 0.0)
        client.wait_until_free("a", 60.0, given_up=lambda: len(script.asked) > 1)
    assert len(script.asked) == 2


def test_an_answer_of_something_else_is_no_term() -> None:
    with listening((200, {"hello": "world"})) as script, LeaseClient(script.url) as client, pytest.raises(LeaseUnknown):
        client.acquire("a", holder="pod-1")


def test_importing_it_loads_nothing_of_the_server() -> None:
    server = "{'asyncio', 'aiohttp', 'psycopg', 'pydantic', 'yaml', 'prometheus_client', 'uvloop'}"
    code = f"import sys, poolguard.client; print(sorted({server} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
