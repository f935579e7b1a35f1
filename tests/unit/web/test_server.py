"""A listener as a service: bound, bounded, and gone when it is stopped."""

import asyncio
import contextlib
import json
import logging

import pytest
from aiohttp import ClientSession, web

from poolguard.aio.clock import SystemClock
from poolguard.core.errors import SettingsError
from poolguard.web.server import WebServer
from poolguard.web.shortcut import Shortcut


def app(handler: object = None) -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", handler or hello)  # type: ignore[arg-type] # a test's own handler
    return application


def server(made: web.Application | None = None, **more: float) -> WebServer:
    return WebServer("control", lambda: made or app(), SystemClock(), host="127.0.0.1", port=0, **more)  # type: ignore[arg-type] # max_connections, idle_seconds


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


async def test_port_0_is_any_free_port_and_is_told(loop_kind: str) -> None:
    listener = server()
    await listener.start()
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{listener.port}/") as answer:
        assert await answer.text() == "hello"
    await listener.stop()

    assert loop_kind
    assert listener.port > 0
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", listener.port)


async def test_a_port_that_is_taken_says_which_and_what_to_do() -> None:
    first = server()
    await first.start()
    second = WebServer("metrics", app, SystemClock(), host="127.0.0.1", port=first.port)
    with pytest.raises(SettingsError) as raised:
        await second.start()
    await second.stop()
    await first.stop()

    assert str(first.port) in raised.value.message
    assert "listen.metrics" in raised.value.hint


async def test_above_the_limit_of_connections_the_answer_is_busy() -> None:
    listener = server(max_connections=1)
    await listener.start()
    _, held = await asyncio.open_connection("127.0.0.1", listener.port)
    held.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
    await held.drain()
    answer = await exchange(listener.port, b"")
    held.close()
    await listener.stop()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head


async def test_a_header_above_the_limit_is_refused_and_what_it_held_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = server()
    await listener.start()
    request = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + b"hunter2" * 2000 + b"\r\n\r\n"
    with caplog.at_level(logging.DEBUG):
        answer = await exchange(listener.port, request)
    await listener.stop()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert json.loads(body)["error"] == "too_long"
    assert b"hunter2" not in answer
    assert "malformed HTTP request" in caplog.messages
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("line", [b"GET /" + b"x" * 9000 + b" HTTP/1.1", b"HELLO"], ids=["too long", "no HTTP"])
@pytest.mark.parametrize("shortcut", [None, lambda _: None], ids=["metrics", "control"])
async def test_what_is_no_request_is_answered_in_json_too(line: bytes, shortcut: Shortcut | None) -> None:
    listener = WebServer("any", app, SystemClock(), host="127.0.0.1", port=0, shortcut=shortcut)
    await listener.start()
    answer = await exchange(listener.port, line + b"\r\nHost: a\r\n\r\n")
    await listener.stop()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"Content-Type: application/json" in head
    assert json.loads(body)["error"] in {"too_long", "malformed"}
    assert b"xxx" not in body


async def test_what_is_not_http_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    listener = server()
    await listener.start()
    with caplog.at_level(logging.INFO):
        answer = await exchange(listener.port, b"\x16\x03\x01\x02\x00 hello over TLS\r\n\r\n")
    await listener.stop()

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert caplog.messages == []


async def test_half_a_request_is_closed_after_the_idle_time() -> None:
    listener = server(idle_seconds=0.05)
    await listener.start()
    answer = await exchange(listener.port, b"GET / HTTP/1.1\r\nHost: a\r\n")
    await listener.stop()

    assert answer == b""


async def test_drain_takes_no_new_connection_and_waits_for_the_request_that_runs() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        reached.set()
        await go_on.wait()
        return web.Response(text="done")

    listener = server(app(slow))
    await listener.start()
    request = asyncio.create_task(exchange(listener.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    await reached.wait()
    draining = asyncio.create_task(listener.drain(SystemClock().monotonic() + 30))
    await asyncio.sleep(0)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", listener.port)
    assert not draining.done()
    go_on.set()
    await draining
    answer = await request
    await listener.stop()

    assert answer.endswith(b"done")


async def test_drain_ends_at_its_deadline_and_stop_ends_what_runs() -> None:
    reached = asyncio.Event()

    async def forever(_: web.Request) -> web.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    listener = server(app(forever))
    await listener.start()
    before = asyncio.all_tasks()
    request = asyncio.create_task(exchange(listener.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    await reached.wait()
    await listener.drain(SystemClock().monotonic())
    await listener.stop()
    await listener.stop()
    await request

    assert asyncio.all_tasks() == before
