"""Requests as poolguard's listener wants them, and one error for every way to get no answer."""

import socket

import pytest

from poolguard.demo.api import Api, ApiFailed
from tests.unit.demo.listener import Listener


def test_a_change_says_that_it_is_json() -> None:
    with Listener([(201, {"token": 7})]) as listener, Api(listener.port) as api:
        assert api.ask("PUT", "/v1/leases/a", {"holderIdentity": "me"}) == (201, {"token": 7})
        (request,) = listener.requests
    assert request.method == "PUT"
    assert request.path == "/v1/leases/a"
    assert request.body == {"holderIdentity": "me"}
    assert request.content_type == "application/json"


def test_a_get_returns_the_body_and_raises_on_anything_but_200() -> None:
    answers = [(200, {"pools": []}), (404, {"message": "no such pool"})]
    with Listener(answers) as listener, Api(listener.port) as api:
        assert api.get("/v1/pools") == {"pools": []}
        with pytest.raises(ApiFailed, match="GET /v1/pools/x: 404 no such pool"):
            api.get("/v1/pools/x")


def test_an_empty_answer_is_an_empty_body() -> None:
    with Listener([(204, None)]) as listener, Api(listener.port) as api:
        assert api.ask("DELETE", "/v1/leases/a?token=1") == (204, {})


def test_nobody_there_and_no_answer_in_time_are_both_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Api(port, timeout=0.05) as api, pytest.raises(ApiFailed, match="TimeoutError"):
            api.get("/livez")
    with Api(port) as api, pytest.raises(ApiFailed, match="ConnectionRefusedError"):
        api.get("/livez")


def test_after_a_failure_the_next_request_connects_again() -> None:
    with Listener([(200, None), (200, {"again": True})], garbage_first=True) as listener, Api(listener.port) as api:
        with pytest.raises(ApiFailed):
            api.get("/v1/pools")
        assert api.get("/v1/pools") == {"again": True}
