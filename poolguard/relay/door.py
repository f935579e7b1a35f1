"""Who may come in, and what a login needs of the relay."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from poolguard.core.clock import Clock
from poolguard.ledger.entries import SessionEntry
from poolguard.relay.counters import Refused
from poolguard.relay.lobby import Lobby, Welcome
from poolguard.relay.session import Session
from poolguard.relay.tls import ClientTls
from poolguard.relay.visitors import Console
from poolguard.settings.model import AuthMethod
from poolguard.wire.scram import ScramSecret
from poolguard.wire.startup import Startup

if TYPE_CHECKING:
    from poolguard.relay.login import Login

BACKLOG: Final = 1024
"""Connections that wait to be accepted."""


async def listen_tcp(arrive: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    """Listen for clients. Each connection has TCP keepalive: a machine that vanished says no goodbye."""
    server = await asyncio.get_running_loop().create_server(arrive, host, port, backlog=BACKLOG)
    for listening in server.sockets:
        # What is accepted inherits it, so that no login has to set it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return server


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in: read anew at each login, so that a reload counts at once."""

    method: AuthMethod
    secrets: Mapping[str, ScramSecret]
    seed: bytes = field(repr=False)
    """32 random bytes, drawn at start: what users that don't exist are made of."""
    login_timeout: float
    tls: ClientTls | None = None


class House(Protocol):
    """What a login needs of the relay."""

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def door(self) -> Door:
        """Who may come in."""
        ...

    @property
    def console(self) -> Console:
        """Takes in who wants no pool."""
        ...

    def arrived(self, login: "Login") -> SessionEntry:
        """A client has connected. Raises TooManyClients or ShuttingDown."""
        ...

    def proven(self, login: "Login") -> None:
        """The client is who it says. Raises TooManyClients if there is no room for a session."""
        ...

    def left(self, login: "Login", reason: Refused | None) -> None:
        """The login is over: None, its session has begun."""
        ...

    def lobby_for(self, asked: Startup) -> Lobby:
        """The pool that a session goes to."""
        ...

    def begin(
        self, login: "Login", entry: SessionEntry, lobby: Lobby, welcome: Welcome, minor: int
    ) -> tuple[Session, int, bytes]:
        """Make the session; also its cancel key's pid and secret. Raises NotLeader."""
        ...

    async def cancel_asked(self, pid: int, key: bytes) -> None:
        """Somebody wants a session's statement cancelled; returns when that is done, or nothing is to be done."""
        ...

    async def replicate(
        self, login: "Login", entry: SessionEntry, lobby: Lobby, asked: Startup, parameters: Mapping[str, str]
    ) -> None:
        """Give the client a server of its own. Raises what opening one raises, TooManyClients, NotSupported."""
        ...

    def spawn_login(self, login: "Login") -> asyncio.Task[None]:
        """Run `login.run()` as an owned task."""
        ...
