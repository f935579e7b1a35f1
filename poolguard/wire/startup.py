"""The first packets of a connection, before any message has a tag: read them as a server, write them as a client.

Pure. Rules: PostgreSQL docs, 55.2.1 and 55.7, and ProcessStartupPacket in src/backend/tcop/backend_startup.c.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from poolguard.core.errors import ClientViolation, InvalidAuthorization, NotSupported
from poolguard.wire.options import parse_options

MAX_PACKET: Final = 10_000
"""Bytes, with the length field; PostgreSQL's MAX_STARTUP_PACKET_LENGTH."""
TLS_FIRST_BYTE: Final = 0x16
"""A client that begins with this starts TLS without asking (direct TLS)."""

LATEST_MINOR: Final = 2
CANCEL_KEY_BYTES: Final = range(4, 257)

_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_CANCEL_REQUEST: Final = 80877102
_HEADER: Final = 8


@dataclass(frozen=True, slots=True)
class SslRequest:
    """The client asks for TLS: answer `S` or `N`. Bytes behind this packet must be refused before TLS begins."""


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    """The client asks for GSSAPI encryption: answer `N` and go on reading."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The client wants the statement cancelled that the session with this key runs. No answer; close."""

    pid: int
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """A session's start. Names and values as the client sent them, in its order."""

    major: int
    minor: int
    """What the client asked for."""
    user: str
    database: str
    """The user's name if the client named none."""
    replication: str = ""
    """Empty, or what the client wants of a walsender: `true`, `database` ..."""
    options: tuple[tuple[str, str], ...] = ()
    """Settings from `options`; PostgreSQL applies these before `parameters`."""
    parameters: tuple[tuple[str, str], ...] = ()
    """The other settings: application_name, client_encoding, DateStyle ..."""
    unknown: tuple[str, ...] = ()
    """Protocol options (`_pq_.*`) that we don't know."""
    given: Mapping[str, str] = field(default_factory=dict, compare=False)
    """`options` and `parameters` by lower-case name; of two that name the same, the one that PostgreSQL goes by."""

    @property
    def agreed_minor(self) -> int:
        """The minor version that is spoken: 3.0 for 3.1, which never was one; 3.2 for anything later."""
        return LATEST_MINOR if self.minor >= LATEST_MINOR else 0

    @property
    def agreed_version(self) -> int:
        """`agreed_minor` as NegotiateProtocolVersion tells it: with the major version, as PostgreSQL does."""
        return 3 << 16 | self.agreed_minor

    @property
    def needs_negotiation(self) -> bool:
        """True if NegotiateProtocolVersion must tell the client what it gets instead (`agreed_version`, `unknown`)."""
        return self.minor != self.agreed_minor or bool(self.unknown)


FirstPacket = SslRequest | GssEncRequest | CancelRequest | Startup


def packet_length(buffered: bytes) -> int | None:
    """Bytes of the packet that *buffered* begins with; None while too few have come to tell.

    Raises ClientViolation for a length outside of 8..10000, before anything is kept.
    """
    if len(buffered) < 4:
        return None
    length = int.from_bytes(buffered[:4], "big", signed=True)
    if not _HEADER <= length <= MAX_PACKET:
        raise ClientViolation(
            f"invalid length of startup packet: {length} is not in {_HEADER}..{MAX_PACKET}", hint=_guess(buffered)
        )
    return length


def _guess(buffered: bytes) -> str:
    if buffered[:4] in {b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI"}:
        return "This port speaks the PostgreSQL protocol, and the client HTTP: see listen.control."
    if buffered[0] == TLS_FIRST_BYTE:
        return "The client begins with TLS: let it use sslmode=disable, or sslnegotiation=postgres."
    return ""


def parse_packet(packet: bytes) -> FirstPacket:
    """Read one whole packet, its length field included.

    Raises ClientViolation (08P01) for a malformed one, NotSupported (0A000) for another major version,
    InvalidAuthorization (28000) if it names no user.
    """
    if packet_length(packet) != len(packet):
        raise ClientViolation(f"invalid length of startup packet: it says otherwise than its {len(packet)} bytes")
    code = int.from_bytes(packet[4:8], "big")
    if code in {_SSL_REQUEST, _GSS_REQUEST}:
        if len(packet) != _HEADER:
            raise ClientViolation("invalid length of an encryption request packet")
        return SslRequest() if code == _SSL_REQUEST else GssEncRequest()
    if code == _CANCEL_REQUEST:
        key = packet[12:]
        if len(key) not in CANCEL_KEY_BYTES:
            raise ClientViolation("invalid length of query cancel packet: a key of 4 to 256 bytes expected")
        return CancelRequest(int.from_bytes(packet[8:12], "big", signed=True), key)
    major, minor = divmod(code, 65536)
    if major != 3:
        raise NotSupported(f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{LATEST_MINOR}")
    return _startup(major, minor, _pairs(packet[_HEADER:]))


def _pairs(body: bytes) -> list[tuple[str, str]]:
    if not body.endswith(b"\0"):
        raise ClientViolation("invalid startup packet layout: expected terminator as last byte")
    pairs, at = [], 0
    while at < len(body) - 1:
        name_end = body.find(b"\0", at)
        value_end = body.find(b"\0", name_end + 1)
        # The last byte of all is the list's terminator: it can't end a value, too.
        if name_end == at or not 0 <= value_end < len(body) - 1:
            raise ClientViolation("invalid startup packet layout: expected terminator as last byte")
        name = _text(body[at:name_end], "a parameter's name")
        pairs.append((name, _value(name, body[name_end + 1 : value_end])))
        at = value_end + 1
    return pairs


def _value(name: str, raw: bytes) -> str:
    if name == "application_name":
        # PostgreSQL never refuses an application_name: what it can't use it replaces (pg_clean_ascii).
        return raw.decode("utf-8", "backslashreplace")
    return _text(raw, f'the value of "{name}"')


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ClientViolation(f"invalid startup packet: {what} is not UTF-8") from None


def _startup(major: int, minor: int, pairs: list[tuple[str, str]]) -> Startup:
    special = {"user": "", "database": "", "options": "", "replication": ""}
    parameters: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in pairs:
        if name in special:
            special[name] = value
        elif name.startswith("_pq_."):
            unknown.append(name)
        else:
            parameters[name] = value
    if not special["user"]:
        raise InvalidAuthorization("no PostgreSQL user name specified in startup packet")
    replication = special["replication"]
    options = parse_options(special["options"])
    return Startup(
        major=major,
        minor=minor,
        user=special["user"],
        database=special["database"] or special["user"],
        replication="" if replication.lower() in {"", "false", "off", "no", "0", "f", "n"} else replication,
        options=options,
        parameters=tuple(parameters.items()),
        unknown=tuple(unknown),
        # The later wins, however its name is written.
        given={name.lower(): value for name, value in (*options, *parameters.items())},
    )


def startup_packet(parameters: Mapping[str, str], *, minor: int = 0) -> bytes:
    """Encode a StartupMessage of protocol 3.*minor*. Surrogate escapes go out as the bytes that they stand for.

    Raises ValueError for a name or value that can't be sent: an empty name, or a zero byte inside.
    """
    body = bytearray()
    for name, value in parameters.items():
        if not name or "\0" in name or "\0" in value:
            raise ValueError(f"startup parameter {name!r}: empty name or zero byte")
        for part in (name, value):
            body += part.encode("utf-8", "surrogateescape") + b"\0"
    body += b"\0"
    if len(body) + _HEADER > MAX_PACKET:
        raise ValueError(f"startup parameters of {len(body)} bytes: more than PostgreSQL takes ({MAX_PACKET})")
    return (len(body) + _HEADER).to_bytes(4, "big") + (3 << 16 | minor).to_bytes(4, "big") + bytes(body)


def ssl_request() -> bytes:
    """Encode an SSLRequest."""
    return _HEADER.to_bytes(4, "big") + _SSL_REQUEST.to_bytes(4, "big")


def cancel_request(pid: int, key: bytes) -> bytes:
    """Encode a CancelRequest. *key*: the 4 to 256 bytes that came in BackendKeyData."""
    head = (12 + len(key)).to_bytes(4, "big") + _CANCEL_REQUEST.to_bytes(4, "big")
    return head + pid.to_bytes(4, "big", signed=True) + key
