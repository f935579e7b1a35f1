"""relay.door: the sockets that clients come by."""

import asyncio
import socket
from typing import cast

from poolguard.relay.door import listen_tcp


class Arriving(asyncio.Protocol):
    """Looks at its socket."""

    def __init__(self, seen: asyncio.Future[int]) -> None:
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = cast("socket.socket", transport.get_extra_info("socket"))
        self._seen.set_result(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        transport.close()


async def test_what_is_accepted_notices_a_machine_that_has_vanished() -> None:
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = await listen_tcp(lambda: Arriving(seen), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await seen != 0
    writer.close()
    server.close()
