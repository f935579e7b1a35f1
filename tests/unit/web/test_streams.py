"""Server-sent events over a real connection."""

import asyncio

import pytest
from aiohttp import ClientSession, web

from poolguard.aio.clock import SystemClock
from poolguard.web.server import WebServer
from poolguard.web.streams import ClientGone, EventStream
from tests.support.eventually import eventually_async


async def test_events_comments_and_the_end_of_the_client() -> None:
    gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    read = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        stream = await EventStream.open(request)
        await stream.send("lease", {"name": "a\nb"}, index=7)
        await stream.ping()
        await stream.send("ended", None)
        await read.wait()
        await eventually_async(lambda: stream.gone)
        with pytest.raises(ClientGone):
            await stream.ping()
        gone.set_result(True)
        return stream.response

    app = web.Application()
    app.add_routes([web.get("/", handler)])
    # Not aiohttp's test server: that cancels a handler whose client has gone, which ours must notice itself.
    server = WebServer("control", lambda: app, SystemClock(), host="127.0.0.1", port=0)
    await server.start()
    async with ClientSession() as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/")
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        text = b""
        while b"null" not in text:
            text += await answer.content.readany()
        assert text == b'id: 7\nevent: lease\ndata: {"name":"a\\nb"}\n\n: ping\n\nevent: ended\ndata: null\n\n'
        answer.close()
        read.set()
        assert await gone
    await server.stop()
