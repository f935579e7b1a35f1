"""A server that plays a script on each connection, and notices any that our side leaves open."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from poolguard.upstream.dial import Address, addresses_of
from poolguard.upstream.endpoint import Endpoint

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """A server that plays *script* once for each connection; leaving waits until our end of each is closed."""
    closed: list[asyncio.Future[None]] = []
    arrived: asyncio.Queue[int] = asyncio.Queue()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.get_running_loop().create_future()
        closed.append(done)
        arrived.put_nowait(writer.get_extra_info("peername")[1])
        try:
            await script(reader, writer)
            while await reader.read(1024):
                pass
        except (OSError, EOFError):  # our end went away: what the tests are about
            pass
        finally:
            writer.close()
            done.set_result(None)

    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=context)
    try:
        port = server.sockets[0].getsockname()[1]
        (address,) = await addresses_of(Endpoint(host="127.0.0.1", port=port))
        yield address
        if context is None:
            # Connections arrive in order: once this one has, every earlier one has, too.
            _, last = await asyncio.open_connection("127.0.0.1", port)
            while await arrived.get() != last.get_extra_info("sockname")[1]:
                pass
            last.close()
            await last.wait_closed()
        await asyncio.gather(*closed)
    finally:
        server.close()
        await server.wait_closed()
