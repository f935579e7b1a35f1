"""Every failure is answered in one JSON shape."""

import logging
from collections.abc import Mapping

import pytest
from aiohttp import web

from poolguard.core.errors import LeaseHeld, LeaseUnavailable, PoolExhausted, PoolguardError
from poolguard.web.errors import body_of
from tests.support.web import Control


def route_that_raises(error: Exception) -> web.RouteDef:
    async def handler(_: web.Request) -> web.Response:
        raise error

    return web.get("/raise", handler)


async def answer_to(error: Exception) -> tuple[int, Mapping[str, object], Mapping[str, str]]:
    async with Control(routes=[route_that_raises(error)]).client() as client:
        answer = await client.get("/raise")
        return answer.status, await answer.json(), answer.headers


async def test_a_known_failure_has_its_status_code_message_detail_and_hint() -> None:
    status, body, headers = await answer_to(PoolExhausted("no server", detail="10 held", hint="wait"))

    assert status == 503
    assert body == {"error": "query_wait_timeout", "message": "no server", "detail": "10 held", "hint": "wait"}
    assert headers["Content-Type"].startswith("application/json")


def test_what_there_is_not_is_left_out() -> None:
    assert body_of(PoolguardError("broken")) == {"error": "internal", "message": "broken"}


async def test_an_errors_own_fields_are_in_the_body() -> None:
    status, body, _ = await answer_to(LeaseHeld("taken", holder="pod-2", valid_for_ms=900))

    assert status == 409
    assert (body["holderIdentity"], body["validForMs"]) == ("pod-2", 900)


async def test_an_error_that_says_when_to_come_again_says_so_in_a_header() -> None:
    _, _, headers = await answer_to(LeaseUnavailable("away"))

    assert headers["Retry-After"] == "1"


async def test_an_error_that_does_not_pass_by_waiting_says_nothing_of_when_to_come_again() -> None:
    _, _, headers = await answer_to(LeaseHeld("taken", holder="pod-2", valid_for_ms=900))

    assert "Retry-After" not in headers


async def test_a_bug_is_answered_with_an_id_that_the_log_has_and_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        status, body, _ = await answer_to(RuntimeError("password=hunter2"))

    assert status == 500
    assert body["error"] == "internal"
    assert "hunter2" not in str(body)
    assert [vars(record)["error_id"] for record in caplog.records] == [body["id"]]


async def test_an_unknown_path_and_a_wrong_method_are_json_too() -> None:
    async with Control().client() as client:
        missing = await client.get("/v2")
        wrong = await client.delete("/v1/pools")
        bodies = await missing.json(), await wrong.json()

    assert (missing.status, bodies[0]["error"]) == (404, "not_found")
    assert (wrong.status, bodies[1]["error"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET, HEAD"
