import socket
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from threading import Event

import pytest

from poolguard.client.http import Http, path_of
from poolguard.core.errors import (
    InvalidLease,
    LeaseHeld,
    LeaseHeldOff,
    LeaseLost,
    LeaseNotFound,
    LeaseUnavailable,
    LeaseUnknown,
    NotAllowed,
    NotLeader,
    PoolguardError,
)
from tests.unit.client.listener import hang_up, listening


def ask(url: str, *, admin_token: str = "", timeout: float = 5.0) -> None:
    with closing(Http(url, admin_token=admin_token)) as http:
        http.ask("GET", "/", timeout=timeout)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (409, "lease_held", LeaseHeld),
        (409, "lease_lost", LeaseLost),
        (409, "lease_held_off", LeaseHeldOff),
        (404, "lease_not_found", LeaseNotFound),
        (503, "lease_unknown", LeaseUnknown),
        (503, "lease_unavailable", LeaseUnavailable),
        (503, "lease_busy", LeaseUnavailable),
        (503, "shutting_down", LeaseUnavailable),
        (503, "not_leader", NotLeader),
        (400, "bad_request", InvalidLease),
        (401, "authentication_failed", NotAllowed),
        (403, "not_allowed", NotAllowed),
        (500, "internal", LeaseUnknown),
        (421, "wrong_host", InvalidLease),
    ],
)
def test_each_refusal_is_its_error(status: int, code: str, error: type[PoolguardError]) -> None:
    body = {"error": code, "message": "m", "detail": "d", "hint": "h", "holderIdentity": "x", "validForMs": 12}
    with listening((status, body)) as script, pytest.raises(PoolguardError) as refused:
        ask(script.url)
    assert type(refused.value) is error
    assert (refused.value.message, refused.value.hint) == ("m", "h")
    if isinstance(refused.value, LeaseHeld):
        assert (refused.value.holder, refused.value.valid_for_ms) == ("x", 12)


def test_an_answer_that_is_no_json_is_no_yes() -> None:
    def gibberish(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(502)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"<>")

    with listening(gibberish) as script, pytest.raises(LeaseUnknown):
        ask(script.url)


def test_nothing_that_listens_means_nothing_was_changed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(LeaseUnavailable, match="no poolguard at"):
            ask(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_no_answer_in_time_is_unknown() -> None:
    never = Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        never.wait(30)

    with listening(hang) as script, pytest.raises(LeaseUnknown, match=r"within 0\.1 s"):
        ask(script.url, timeout=0.1)
    never.set()


def test_a_connection_that_breaks_is_unknown() -> None:
    with listening(hang_up) as script, pytest.raises(LeaseUnknown):
        ask(script.url)
    assert len(script.asked) == 1


def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing() -> None:
    with listening((200, {"n": 1}), hang_up, (200, {"n": 3})) as script:
        http = Http(script.url)
        assert http.ask("GET", "/1", timeout=5.0).body == {"n": 1}
        assert http.ask("GET", "/2", timeout=5.0).body == {"n": 3}
        http.close()
    assert [path for _, path, _ in script.asked] == ["/1", "/2", "/2"]


def test_the_admin_token_goes_along_where_there_is_one() -> None:
    with listening((204, None)) as script:
        ask(script.url, admin_token="s3cret")
        ask(script.url)
    assert [sent.get("Authorization") for sent in script.headers] == ["Bearer s3cret", None]


@pytest.mark.parametrize("url", ["https://127.0.0.1:6433", "http://", "http://h:port", "http://h/path"])
def test_an_address_that_can_not_be_one_is_refused(url: str) -> None:
    with pytest.raises(InvalidLease):
        Http(url)


@pytest.mark.parametrize(
    ("url", "where"), [("http://h", ("h", 6433)), ("h:1", ("h", 1)), ("http://[::1]:9", ("::1", 9))]
)
def test_addresses_are_read(url: str, where: tuple[str, int]) -> None:
    http = Http(url)
    assert (http.host, http.port) == where


def test_names_are_quoted_in_paths() -> None:
    assert path_of("v1/leases", "team/a:b c?") == "/v1/leases/team/a:b%20c%3F"
