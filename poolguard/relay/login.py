"""A client from its first byte to its session (PostgreSQL docs, 55.2.1 and 55.3)."""

import asyncio
import logging
import secrets
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from poolguard.aio.tls import TlsTransport
from poolguard.core.by_text import ByText
from poolguard.core.errors import (
    AuthenticationFailed,
    ClientViolation,
    InvalidAuthorization,
    InvalidLease,
    NotLeader,
    NotSupported,
    PoolguardError,
    ShuttingDown,
    TooManyClients,
)
from poolguard.ledger.entries import SessionEntry
from poolguard.relay.bound import lease_of
from poolguard.relay.counters import Refused
from poolguard.relay.door import House
from poolguard.relay.lobby import Lobby, Welcome
from poolguard.relay.tls import ALPN, ClientTls, check_name, common_name
from poolguard.relay.visitors import Visitor
from poolguard.settings.model import AuthMethod
from poolguard.wire import messages, startup
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.scram import SaslFinal, ScramSecret, ScramServer

MAX_AUTH_MESSAGE: Final = 4096
MAX_EARLY_BYTES: Final = 64 * 1024
"""How much a client may send before it is logged in."""

LINGER_SECONDS: Final = 5.0
"""How long a client that is turned away has to read why."""

_PASSWORD: Final = b"p"[0]
_SSL_REQUEST: Final = startup.ssl_request()

log = logging.getLogger(__name__)


class TlsRefused(ClientViolation):
    """The handshake failed: there is nobody to whom an error could be told in a way that both understand."""


_REASONS: Final[tuple[tuple[type[PoolguardError] | tuple[type[PoolguardError], ...], Refused], ...]] = (
    ((AuthenticationFailed, InvalidAuthorization), Refused.AUTHENTICATION),
    (TooManyClients, Refused.MAX_CLIENTS),
    (TlsRefused, Refused.TLS),
    ((ClientViolation, NotSupported, InvalidLease), Refused.PROTOCOL),
    (NotLeader, Refused.NOT_LEADER),
    (PoolguardError, Refused.UPSTREAM),
)
"""What each error counts as; the first that fits."""


class _Plain(NamedTuple):
    """A StartupMessage that asks for a session and for nothing else."""

    asked: startup.Startup
    lease: str
    parameters: Mapping[str, str]
    """Those that are PostgreSQL's to judge."""


def _plain(packet: bytes) -> _Plain | None:
    """What *packet* asks for, if it is a whole one and plain."""
    try:
        asked = startup.parse_packet(packet)
        if not isinstance(asked, startup.Startup) or asked.needs_negotiation or asked.replication:
            return None
        return _Plain(asked, *lease_of(asked.given))
    except PoolguardError:
        return None  # run() says why


class Login(asyncio.Protocol):
    """The protocol of a connection until its session takes over.

    A client that need not prove anything, and whose parameters are known, is let in by the callback that brings its
    StartupMessage: some applications connect for every request. For everybody else there is a task, run().
    """

    _plain_startup: Final = ByText(_plain)
    """Clients of one application begin with the same bytes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.transport: asyncio.Transport
        self._entry: SessionEntry | None = None
        self._buffer = bytearray()
        self._more: asyncio.Event
        """Made with the task, which waits for it."""
        self._gone = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered: set[type] = set()
        """What the client has asked for before its StartupMessage."""
        self.lease = ""
        """The session is bound to this lease; empty: to none."""
        self._tls: ClientTls | None = None
        """What the handshake was made with; None before it, and without TLS."""
        self._shaking = False
        self._reason: Refused | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of asyncio's
        try:
            self._entry = self._house.arrived(self)
        except PoolguardError as error:
            self._refuse(error, Refused.MAX_LOGINS if isinstance(error, TooManyClients) else Refused.STOPPING)
        else:
            self._timer = asyncio.get_running_loop().call_later(self._house.door.login_timeout, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Let a client in that comes plainly; keep what else comes for run()."""
        if self._task is None:
            if self._ended or (not self._buffer and self._comes_plainly(data)):
                return
            self._more = asyncio.Event()
            self._task = self._house.spawn_login(self)
        self._buffer += data
        if len(self._buffer) > MAX_EARLY_BYTES:
            self._refuse(ClientViolation("too many bytes before the login was done"), Refused.PROTOCOL)
        self._more.set()

    def _comes_plainly(self, data: bytes) -> bool:
        """Answer *data*, if that is one whole packet and nothing has to be awaited for it; else False."""
        door = self._house.door
        if door.tls is not None:
            return False
        if data == _SSL_REQUEST and startup.SslRequest not in self._answered:
            self._answered.add(startup.SslRequest)
            self.transport.write(b"N")
            return True
        plain = self._plain_startup(data) if door.method is AuthMethod.TRUST else None
        if plain is None or self._house.console.wanted(plain.asked):
            return False
        asked, lease, parameters = plain
        lobby = self._house.lobby_for(asked)
        welcome = lobby.known(parameters)
        if welcome is None:
            return False
        self.lease = lease
        try:
            self._introduce(asked, parameters, lobby)
            self._begin(lobby, welcome, asked.agreed_minor)
        except PoolguardError as error:
            self._failed(error)
        finally:
            self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone before it was logged in."""
        self._gone = True
        self._end()

    def stop(self) -> None:
        """poolguard stops."""
        self._refuse(ShuttingDown("poolguard is stopping; connect again"), Refused.STOPPING)

    def _too_late(self) -> None:
        self._refuse(ClientViolation("canceling authentication due to timeout"), Refused.LOGIN_TIMEOUT)

    def give_way(self) -> None:
        """Others want to log in, and this has taken long enough."""
        self._refuse(
            TooManyClients("too many clients are logging in: the slowest must go (limits.max_logins)"),
            Refused.MAX_LOGINS,
        )

    @property
    def _is_local(self) -> bool:
        """Whether it came by a Unix socket."""
        return not isinstance(self.transport.get_extra_info("peername"), tuple)

    @property
    def entry(self) -> SessionEntry | None:
        """The ledger's line, once the client has arrived."""
        return self._entry

    async def run(self) -> None:
        """A login for which something is awaited; its end is a session, or an error and a closed connection."""
        try:
            await self._log_in()
        except PoolguardError as error:
            self._failed(error)
        finally:
            self._task = None
            self._end()

    def _failed(self, error: PoolguardError) -> None:
        self._reason = next(reason for kinds, reason in _REASONS if isinstance(error, kinds))
        if isinstance(error, TlsRefused):
            log.info("a client's TLS was refused", extra={"client": self._address, "reason": error.message})
            self._hang_up()
        else:
            self._tell(error)

    def _refuse(self, error: PoolguardError, reason: Refused) -> None:
        self._reason = reason
        self._tell(error)
        self._end()

    def _end(self) -> None:
        """The login is over. Safe to repeat; run() may not even have begun."""
        if self._task is not None:
            self._task.cancel()
        if not self._ended:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
            self._house.left(self, self._reason)

    def _tell(self, error: PoolguardError) -> None:
        if self._shaking:
            self._gone = True
            self.transport.abort()  # in the middle of a handshake nobody would understand a word
        elif not self._gone:
            self.transport.write(messages.error_of(error, severity="FATAL"))
            self._hang_up()

    def _hang_up(self) -> None:
        """Close; what has been written goes out first, if the client reads it soon."""
        self._gone = True
        self.transport.close()
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)

    @property
    def _address(self) -> str:
        return self._entry.client_address if self._entry is not None else ""

    async def _log_in(self) -> None:
        asked = await self._startup()
        if asked is None:
            self._hang_up()
            return
        if asked.needs_negotiation:
            self.transport.write(messages.negotiate_protocol_version(asked.agreed_version, asked.unknown))
        await self._prove(asked.user)
        entry = self._entry
        assert entry is not None, "a client that runs has arrived"
        if self._house.console.wanted(asked):
            self._house.console.visit(
                Visitor(self.transport, asked, entry.session_id, entry.client_address, self.take_early())
            )
            return
        lobby = self._house.lobby_for(asked)
        self.lease, parameters = lease_of(asked.given)
        self._introduce(asked, parameters, lobby)
        if asked.replication:
            await self._house.replicate(self, entry, lobby, asked, parameters)
            return
        self._begin(lobby, await lobby.admit(parameters, self._house.clock.monotonic), asked.agreed_minor)

    def _introduce(self, asked: startup.Startup, parameters: Mapping[str, str], lobby: Lobby) -> None:
        """Say in the ledger who it is. Raises TooManyClients."""
        self._house.proven(self)
        entry = self._entry
        assert entry is not None, "a client that says something has arrived"
        entry.user, entry.database = asked.user, asked.database
        entry.application_name = parameters.get("application_name", "")
        entry.pool = lobby.pool.name

    def _begin(self, lobby: Lobby, welcome: Welcome, minor: int) -> None:
        if self._gone:
            raise ClientViolation("the client has gone")
        entry = self._entry
        assert entry is not None, "a client that says something has arrived"
        session, pid, key = self._house.begin(self, entry, lobby, welcome, minor)
        session.deliver(messages.ready_greeting(welcome.reported, pid, key))
        if early := self.take_early():
            session.data_received(early)

    def take_early(self) -> bytes:
        """What the client has said behind its login."""
        early = bytes(self._buffer)
        self._buffer.clear()
        return early

    async def _startup(self) -> startup.Startup | None:
        """The StartupMessage; None if the client only came to cancel."""
        answered = self._answered
        if self._buffer[0] == startup.TLS_FIRST_BYTE and (tls := self._house.door.tls) and not self._is_local:
            await self._begin_with_tls(tls)
            answered.add(startup.SslRequest)
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
                    # The client takes the end of this connection for the end of its cancelling: a later one could
                    # hit its next statement.
                    await self._house.cancel_asked(pid, key)
                    return None
                case _:
                    if type(packet) in answered:
                        raise ClientViolation("encryption was asked for twice")
                    answered.add(type(packet))
                    await self._encrypt_or_not(packet)

    async def _encrypt_or_not(self, packet: startup.SslRequest | startup.GssEncRequest) -> None:
        if self._buffer:
            # It was not encrypted: whoever sits in between may have put it there (CVE-2021-23222).
            raise ClientViolation("received unencrypted data after an encryption request")
        tls = self._house.door.tls
        if tls is None or self._tls is not None or self._is_local or isinstance(packet, startup.GssEncRequest):
            self.transport.write(b"N")
        else:
            self.transport.write(b"S")
            await self._shake_hands(tls)

    async def _shake_hands(self, tls: ClientTls) -> ssl.SSLObject:
        early = self.take_early()
        secured = TlsTransport(self.transport, self, tls.context)
        self._shaking = True
        try:
            await secured.handshake(early)
        except (ssl.SSLError, ConnectionResetError) as error:
            why = error.reason if isinstance(error, ssl.SSLError) else str(error)
            raise TlsRefused(f"handshake failed: {(why or 'unknown').replace('_', ' ').lower()}") from None
        finally:
            self._shaking = False
        self.transport, self._tls = secured, tls
        return secured.session

    async def _begin_with_tls(self, tls: ClientTls) -> None:
        """The client began with TLS unasked. Its first bytes may be meant for another protocol's server."""
        session = await self._shake_hands(tls)
        if session.selected_alpn_protocol() != ALPN:
            raise TlsRefused("direct TLS without the protocol's name (ALPN)")

    async def _wait(self) -> None:
        self._more.clear()
        await self._more.wait()
        if self._gone:
            raise ClientViolation("the client has gone")

    async def _prove(self, user: str) -> None:
        """Make sure that the client is *user*."""
        door = self._house.door
        session: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object") if self._tls is not None else None
        tls = self._tls or door.tls
        if tls is not None and not self._is_local:
            tls.check_client(session, user)
        if door.method is AuthMethod.CERT:
            check_name(common_name(session), user)
        elif door.method is AuthMethod.SCRAM:
            await self._authenticate(user)

    async def _authenticate(self, user: str) -> None:
        door = self._house.door
        secret = door.secrets.get(user) or ScramSecret.for_unknown_user(user, seed=door.seed)
        exchange = ScramServer(
            secret,
            user=user,
            nonce=b64encode(secrets.token_bytes(18)).decode(),
            certificate_hash=self._tls.binding if self._tls is not None else None,
        )
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
