"""Bodies are bounded in length and time."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from poolguard.web.bodies import MAX_BODY_BYTES, read_bodies
from poolguard.web.errors import errors_to_json


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def client(within_seconds: float = 10.0) -> TestClient[web.Request, web.Application]:
    app = web.Application(middlewares=[errors_to_json, read_bodies(within_seconds)], client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/", echo)
    return TestClient(TestServer(app))


async def test_the_handler_gets_the_body() -> None:
    async with client() as http:
        assert await (await http.post("/", data=b"x" * MAX_BODY_BYTES)).read() == b"x" * MAX_BODY_BYTES


async def test_a_body_above_the_limit_is_refused_in_json() -> None:
    async with client() as http:
        answer = await http.post("/", data=b"x" * (MAX_BODY_BYTES + 1))

        assert answer.status == 413
        assert (await answer.json())["error"] == "too_large"


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with client(within_seconds=0.01) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert status.startswith(b"HTTP/1.1 408")
