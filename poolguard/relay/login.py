"""A client from its first byte to its session (PostgreSQL docs, 55.2.1 and 55.3)."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from poolguard.core.clock import Clock
from poolguard.core.errors import (
    AuthenticationFailed,
    ClientViolation,
    NotLeader,
    NotSupported,
    PoolguardError,
    ShuttingDown,
    TooManyClients,
)
from poolguard.ledger.entries import SessionEntry
from poolguard.relay.bound import lease_of
from poolguard.relay.counters import Refused
from poolguard.relay.lobby import Lobby
from poolguard.relay.parameters import ParameterSet
from poolguard.relay.session import Session
from poolguard.settings.model import AuthMethod
from poolguard.wire import messages, startup
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.scram import SaslFinal, ScramSecret, ScramServer

MAX_AUTH_MESSAGE: Final = 4096
MAX_EARLY_BYTES: Final = 64 * 1024
"""How much a client may send before it is logged in."""

_PASSWORD: Final = b"p"[0]


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in: read anew at each login, so that a reload counts at once."""

    method: AuthMethod
    secrets: Mapping[str, ScramSecret]
    seed: bytes = field(repr=False)
    """32 random bytes, drawn at start: what users that don't exist are made of."""
    login_timeout: float


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

    def arrived(self, login: "Login") -> SessionEntry:
        """A client has connected. Raises TooManyClients or ShuttingDown."""
        ...

    def left(self, login: "Login", reason: Refused | None) -> None:
        """The login is over: None, its session has begun."""
        ...

    def lobby_for(self, asked: startup.Startup) -> Lobby:
        """The pool that a session goes to."""
        ...

    def begin(
        self, login: "Login", entry: SessionEntry, lobby: Lobby, wanted: ParameterSet, minor: int
    ) -> tuple[Session, int, bytes]:
        """Make the session; also its cancel key's pid and secret. Raises NotLeader."""
        ...

    def cancel_asked(self, pid: int, key: bytes) -> None:
        """Somebody wants a session's statement cancelled."""
        ...

    def spawn_login(self, login: "Login") -> asyncio.Task[None]:
        """Run `login.run()` as an owned task."""
        ...


class Login(asyncio.Protocol):
    """The protocol of a connection until its session takes over."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.transport: asyncio.Transport
        self._entry: SessionEntry | None = None
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._gone = False
        self._task: asyncio.Task[None] | None = None
        self.lease = ""
        """The session is bound to this lease; empty: to none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of asyncio's
        try:
            self._entry = self._house.arrived(self)
        except PoolguardError as error:
            reason = Refused.MAX_CLIENTS if isinstance(error, TooManyClients) else Refused.STOPPING
            self._refuse(error, reason)
        else:
            self._task = self._house.spawn_login(self)

    def data_received(self, data: bytes) -> None:
        """Keep it for run()."""
        self._buffer += data
        if len(self._buffer) > MAX_EARLY_BYTES:
            self._refuse(ClientViolation("too many bytes before the login was done"), Refused.PROTOCOL)
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone before it was logged in."""
        self._gone = True
        self._more.set()
        if self._task is not None:
            self._task.cancel()
        elif self._entry is not None:
            self._house.left(self, None)

    def stop(self) -> None:
        """poolguard stops."""
        self._refuse(ShuttingDown("poolguard is stopping; connect again"), Refused.STOPPING)

    @property
    def entry(self) -> SessionEntry | None:
        """The ledger's line, once the client has arrived."""
        return self._entry

    async def run(self) -> None:
        """The whole login; its end is a session, or an error to the client and a closed connection."""
        reason: Refused | None = None
        try:
            async with asyncio.timeout(self._house.door.login_timeout):
                await self._log_in()
        except TimeoutError:
            reason = Refused.LOGIN_TIMEOUT
            self._tell(ClientViolation("canceling authentication due to timeout"))
        except AuthenticationFailed as error:
            reason = Refused.AUTHENTICATION
            self._tell(error)
        except (ClientViolation, NotSupported) as error:
            reason = Refused.PROTOCOL
            self._tell(error)
        except NotLeader as error:
            reason = Refused.NOT_LEADER
            self._tell(error)
        except PoolguardError as error:
            reason = Refused.UPSTREAM
            self._tell(error)
        finally:
            self._task = None
            self._house.left(self, reason)

    def _refuse(self, error: PoolguardError, reason: Refused) -> None:
        self._tell(error)
        if self._task is not None:
            self._task.cancel()
        else:
            self._house.left(self, reason)

    def _tell(self, error: PoolguardError) -> None:
        if not self._gone:
            self._gone = True
            self.transport.write(messages.error_of(error, severity="FATAL"))
            self.transport.close()

    async def _log_in(self) -> None:
        asked = await self._startup()
        if asked is None:
            self._gone = True
            self.transport.close()
            return
        if asked.replication:
            raise NotSupported(
                "replication connections can't go through a pool", hint="Connect to PostgreSQL directly."
            )
        if asked.needs_negotiation:
            self.transport.write(messages.negotiate_protocol_version(asked.agreed_version, asked.unknown))
        if self._house.door.method is AuthMethod.SCRAM:
            await self._authenticate(asked.user)
        entry = self._entry
        assert entry is not None, "a client that runs has arrived"
        entry.user, entry.database = asked.user, asked.database
        self.lease, parameters = lease_of({**dict(asked.options), **dict(asked.parameters)})
        entry.application_name = {name.lower(): value for name, value in parameters.items()}.get("application_name", "")
        lobby = self._house.lobby_for(asked)
        entry.pool = lobby.pool.name
        wanted, status = await lobby.admit(parameters, self._house.clock.monotonic)
        self._begin(entry, lobby, wanted, status, asked.agreed_minor)

    def _begin(
        self, entry: SessionEntry, lobby: Lobby, wanted: ParameterSet, status: Mapping[str, str], minor: int
    ) -> None:
        if self._gone:
            raise ClientViolation("the client has gone")
        session, pid, key = self._house.begin(self, entry, lobby, wanted, minor)
        hello = [messages.AUTHENTICATION_OK]
        hello += [messages.parameter_status(name, value) for name, value in status.items()]
        hello += [messages.backend_key_data(pid, key), messages.READY[b"I"[0]]]
        session.deliver(b"".join(hello))
        early = bytes(self._buffer)
        self._buffer.clear()
        if early:
            session.data_received(early)

    async def _startup(self) -> startup.Startup | None:
        """The StartupMessage; None if the client only came to cancel."""
        answered: set[type] = set()
        while True:
            length = startup.packet_length(bytes(self._buffer[:4]))
            if length is None or len(self._buffer) < length:
                await self._wait()
                continue
            packet = startup.parse_packet(bytes(self._buffer[:length]))
            del self._buffer[:length]
            match packet:
                case startup.Startup():
                    return packet
                case startup.CancelRequest(pid, key):
                    self._house.cancel_asked(pid, key)
                    return None
                case _:
                    if type(packet) in answered:
                        raise ClientViolation("encryption was asked for twice")
                    answered.add(type(packet))
                    self.transport.write(b"N")

    async def _wait(self) -> None:
        self._more.clear()
        await self._more.wait()
        if self._gone:
            raise ClientViolation("the client has gone")

    async def _authenticate(self, user: str) -> None:
        door = self._house.door
        secret = door.secrets.get(user) or ScramSecret.for_unknown_user(user, seed=door.seed)
        exchange = ScramServer(secret, user=user, nonce=b64encode(secrets.token_bytes(18)).decode())
        self.transport.write(messages.authentication_sasl(exchange.mechanisms))
        splitter = FrameSplitter(max_body=MAX_AUTH_MESSAGE)
        while True:
            while not self._buffer:
                await self._wait()
            data = bytes(self._buffer)
            self._buffer.clear()
            for tag, body in splitter.feed(data):
                if tag != _PASSWORD:
                    raise ClientViolation(f"expected a password message, got message type {chr(tag)!r}")
                step = exchange.receive(body)
                if isinstance(step, SaslFinal):
                    self.transport.write(messages.authentication_sasl_final(step.payload))
                    self._buffer += splitter.rest()
                    return
                self.transport.write(messages.authentication_sasl_continue(step.payload))
