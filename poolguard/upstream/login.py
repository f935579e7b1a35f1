"""The exchange that logs a server in, from the startup packet to ReadyForQuery: bytes in, effects out. Pure.

PostgreSQL docs, 55.2.1 (Start-up), 55.3 (SASL Authentication).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from poolguard.core.errors import ServerViolation, UpstreamRefused, UpstreamUnavailable
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.messages import error_fields, password_message, sasl_initial_response, sasl_response
from poolguard.wire.scram_client import Challenge, ChannelBinding, ScramClient, choose_mechanism
from poolguard.wire.startup import CANCEL_KEY_BYTES, startup_packet

MAX_BODY: Final = 64 * 1024
"""Bytes of one message before ReadyForQuery. The longest real ones are errors and notices."""
_MAX_PARAMETERS: Final = 1000
_OLD_ERROR_LENGTH: Final = 30_000
_OLD_ERROR_SHOWN: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in, and how far the way there can be trusted."""

    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    channel_binding: ChannelBinding = ChannelBinding.PREFER
    tls: bool = False
    certificate_hash: bytes | None = field(default=None, repr=False)
    """Of the server's certificate; None without TLS, and where it can't be bound to."""
    nonce: str = field(repr=False)
    """At least 18 random bytes in base64."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeriveKey:
    """Salt the password (it may take a while), then call `Login.derived`."""

    challenge: Challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """The server waits for the first statement, and nothing else has come."""

    parameters: dict[str, str]
    """As last reported. Bytes that are no UTF-8 stand as surrogate escapes."""
    backend_pid: int
    """0 if the server told none."""
    cancel_key: bytes = field(repr=False)
    """4 to 256 bytes; empty if the server told none: then it can't be cancelled."""
    protocol_minor: int
    reported_notices: int


Effect = Send | DeriveKey | LoggedIn


class _State(Enum):
    STARTED = "the startup packet is sent"
    SASL_STARTED = "SASL's first message is sent"
    SASL_DERIVING = "the password is being salted"
    SASL_PROVEN = "SASL's proof is sent"
    SASL_VERIFIED = "the server has proven itself, too"
    PASSWORD_SENT = "a password is sent"  # noqa: S105 - a state's name
    AUTHENTICATED = "AuthenticationOk has come"
    READY = "ReadyForQuery has come"


class Login:
    """One login. `start()`, then `receive()` what comes, until LoggedIn is among the effects.

    Raises UpstreamRefused for an ErrorResponse, UpstreamUnavailable where the two sides don't fit together,
    ServerViolation for nonsense. After any of these: close.
    """

    def __init__(self, credentials: Credentials, parameters: Mapping[str, str], *, minor: int = 0) -> None:
        """*parameters* go into the startup packet, behind user and database."""
        self._credentials = credentials
        self._start_parameters = parameters
        self._minor = minor
        self._state = _State.STARTED
        self._splitter = FrameSplitter(max_body=MAX_BODY, blame=ServerViolation)
        self._head: bytes | None = b""
        self._scram: ScramClient | None = None
        self._parameters: dict[str, str] = {}
        self._key: tuple[int, bytes] | None = None
        self._notices = 0
        self._negotiated = False

    def start(self) -> bytes:
        """Give the startup packet. Raises ValueError for parameters that can't be sent."""
        names = {"user": self._credentials.user, "database": self._credentials.database}
        return startup_packet(names | dict(self._start_parameters), minor=self._minor)

    def receive(self, data: bytes) -> list[Effect]:
        """Take what came, and say what to do."""
        effects: list[Effect] = []
        for tag, body in self._splitter.feed(self._past_old_error(data)):
            if self._state is _State.READY:
                raise ServerViolation("PostgreSQL sent something behind ReadyForQuery that nobody asked for")
            effects += self._message(tag, body)
        if self._state is _State.READY and self._splitter.rest():
            raise ServerViolation("PostgreSQL sent something behind ReadyForQuery that nobody asked for")
        return effects

    def derived(self, salted: bytes) -> list[Effect]:
        """Go on with the salted password."""
        assert self._state is _State.SASL_DERIVING, f"derived() while {self._state.value}"
        assert self._scram is not None, "SASL_DERIVING follows SASL_STARTED"
        self._state = _State.SASL_PROVEN
        return [Send(sasl_response(self._scram.answer(salted)))]

    def _past_old_error(self, data: bytes) -> bytes:
        # A postmaster that can't fork says so in protocol 2: `E`, text, zero byte (report_fork_failure_to_client).
        if self._head is None:
            return data
        head = self._head + data
        if len(head) < 5:
            self._head = head
            return b""
        if head[0] == ord("E") and not 8 <= int.from_bytes(head[1:5], "big") <= _OLD_ERROR_LENGTH:
            text, end, _ = head[1:_OLD_ERROR_SHOWN].partition(b"\0")
            if end or len(head) >= _OLD_ERROR_SHOWN:
                shown = text.decode("utf-8", "replace").strip()
                raise UpstreamUnavailable(f"PostgreSQL could not start a session: {shown}")
            self._head = head
            return b""
        self._head = None
        return head

    def _message(self, tag: int, body: bytes) -> list[Effect]:
        match chr(tag):
            case "R":
                return self._authentication(body)
            case "E":
                raise refusal(body)
            case "N":
                self._notices += 1
            case "S":
                self._parameter(body)
            case "v":
                self._negotiate(body)
            case "K" if self._state is _State.AUTHENTICATED and self._key is None:
                if len(body) - 4 not in CANCEL_KEY_BYTES:
                    raise ServerViolation("BackendKeyData's key is not of 4 to 256 bytes")
                self._key = int.from_bytes(body[:4], "big", signed=True), body[4:]
            case "Z" if self._state is _State.AUTHENTICATED:
                return [self._ready(body)]
            case _:
                raise ServerViolation(f"PostgreSQL sent message type {tag:#04x} while {self._state.value}")
        return []

    def _parameter(self, body: bytes) -> None:
        parts = body.split(b"\0")
        if len(parts) != 3 or parts[2]:
            raise ServerViolation("ParameterStatus is not two zero-terminated strings")
        name, value = (part.decode("utf-8", "surrogateescape") for part in parts[:2])
        self._parameters[name] = value
        if len(self._parameters) > _MAX_PARAMETERS:
            raise ServerViolation(f"PostgreSQL reports more than {_MAX_PARAMETERS} parameters")

    def _negotiate(self, body: bytes) -> None:
        # Newest version (with its major part), number of options it does not know, their names.
        if self._state is not _State.STARTED or self._negotiated or len(body) < 8:
            raise ServerViolation("unexpected or malformed NegotiateProtocolVersion")
        major, minor = divmod(int.from_bytes(body[:4], "big"), 65536)
        if int.from_bytes(body[4:8], "big") or major not in {0, 3} or minor > self._minor:
            raise ServerViolation("NegotiateProtocolVersion names what was not asked for")
        self._negotiated, self._minor = True, minor

    def _ready(self, body: bytes) -> LoggedIn:
        if body != b"I":
            raise ServerViolation("ReadyForQuery after a login is not idle")
        self._state = _State.READY
        pid, key = self._key or (0, b"")
        return LoggedIn(
            parameters=self._parameters,
            backend_pid=pid,
            cancel_key=key,
            protocol_minor=self._minor,
            reported_notices=self._notices,
        )

    def _authentication(self, body: bytes) -> list[Effect]:
        if len(body) < 4:
            raise ServerViolation("malformed authentication request")
        code, payload = int.from_bytes(body[:4], "big"), body[4:]
        match code, self._state:
            case 0, _State.STARTED | _State.PASSWORD_SENT | _State.SASL_VERIFIED:
                return self._authenticated()
            case 0, _:
                raise ServerViolation(
                    "PostgreSQL accepted the login without proving that it knows the password",
                    hint="Something else than the expected server may be answering.",
                )
            case 3, _State.STARTED:
                return self._password(lambda password: password)
            case 5, _State.STARTED:
                if len(payload) != 4:
                    raise ServerViolation("malformed md5 authentication request")
                user = self._credentials.user.encode("utf-8", "surrogateescape")
                return self._password(lambda password: _md5(password, user, payload))
            case 10, _State.STARTED:
                return self._sasl(payload)
            case 11, _State.SASL_STARTED if self._scram is not None:
                self._state = _State.SASL_DERIVING
                return [DeriveKey(self._scram.challenged(payload))]
            case 12, _State.SASL_PROVEN if self._scram is not None:
                self._scram.verify(payload)
                self._state = _State.SASL_VERIFIED
                return []
            case ((2 | 6 | 7 | 8 | 9), _):
                raise UpstreamUnavailable(
                    f"PostgreSQL asks for {_UNSUPPORTED[code]}, which poolguard does not do",
                    hint="Let pg_hba.conf use scram-sha-256 (or md5, password, cert, trust) for this user and host.",
                )
            case _:
                raise ServerViolation(f"PostgreSQL sent authentication request {code} while {self._state.value}")

    def _authenticated(self) -> list[Effect]:
        bound = self._scram is not None and self._scram.choice.binds
        if self._credentials.channel_binding is ChannelBinding.REQUIRE and not bound:
            raise _not_bound()
        self._state = _State.AUTHENTICATED
        return []

    def _password(self, encode: Callable[[bytes], bytes]) -> list[Effect]:
        if self._credentials.channel_binding is ChannelBinding.REQUIRE:
            raise _not_bound()
        password = self._need_password().encode("utf-8", "surrogateescape")
        self._state = _State.PASSWORD_SENT
        return [Send(password_message(encode(password)))]

    def _sasl(self, payload: bytes) -> list[Effect]:
        mechanisms = [name.decode("ascii", "replace") for name in payload.split(b"\0") if name]
        credentials = self._credentials
        choice = choose_mechanism(
            mechanisms,
            tls=credentials.tls,
            certificate_hash=credentials.certificate_hash,
            wish=credentials.channel_binding,
        )
        self._need_password()
        self._scram = ScramClient(choice, nonce=credentials.nonce)
        self._state = _State.SASL_STARTED
        return [Send(sasl_initial_response(choice.mechanism, self._scram.first()))]

    def _need_password(self) -> str:
        if self._credentials.password is None:
            raise UpstreamUnavailable(
                "PostgreSQL asks for a password and none is known",
                hint="Set upstream.password_file, PGPASSWORD, or a line in ~/.pgpass (mode 0600).",
            )
        return self._credentials.password


_UNSUPPORTED: Final = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}


def _md5(password: bytes, user: bytes, salt: bytes) -> bytes:
    """PostgreSQL docs, 55.2.1: AuthenticationMD5Password."""
    inner = hashlib.md5(password + user, usedforsecurity=False).hexdigest().encode()
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode()


def _not_bound() -> UpstreamUnavailable:
    return UpstreamUnavailable(
        "channel_binding=require: PostgreSQL authenticates this login without channel binding",
        hint="Let pg_hba.conf say hostssl ... scram-sha-256, or set channel_binding=prefer.",
    )


def refusal(body: bytes) -> UpstreamRefused:
    """Make the error out of an ErrorResponse's body: PostgreSQL's own SQLSTATE and texts."""
    fields = error_fields(body)
    sqlstate = fields.get("C", "")
    if len(sqlstate) != 5 or not (sqlstate.isascii() and sqlstate.isalnum()):
        sqlstate = UpstreamUnavailable.sqlstate
    return UpstreamRefused(
        fields.get("M", "PostgreSQL refused the login without a message"),
        sqlstate=sqlstate,
        detail=fields.get("D", ""),
        hint=fields.get("H", ""),
    )
