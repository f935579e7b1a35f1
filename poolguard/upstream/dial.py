"""Open a socket to PostgreSQL, TCP or Unix, and TLS on it where sslmode says so."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from poolguard.core.errors import ServerViolation, UpstreamUnavailable
from poolguard.upstream.certificate import binding_hash
from poolguard.upstream.conversation import Conversation
from poolguard.upstream.endpoint import Endpoint, Keepalive
from poolguard.upstream.tls import Encryption, TlsSettings, make_context
from poolguard.wire.startup import ssl_request

ALPN: Final = "postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What one endpoint's name led to: cancelling must go to the very same server."""

    endpoint: Endpoint
    family: int
    sockaddr: str | tuple[str | int, ...]
    """As the socket's connect takes it: a path, or host, port and what IPv6 adds."""

    def __str__(self) -> str:
        if isinstance(self.sockaddr, str) or self.sockaddr[0] in {self.endpoint.host, self.endpoint.hostaddr}:
            return str(self.endpoint)
        return f"{self.endpoint} ({self.sockaddr[0]})"


class TlsFailed(UpstreamUnavailable):
    """The TLS handshake failed: sslmode=prefer goes on without."""


@dataclass(slots=True, kw_only=True)
class Dialed:
    """An open way to PostgreSQL, on which nothing was said yet. Reading is paused; whoever holds this must end it."""

    conversation: Conversation
    tls: bool = False
    certificate_hash: bytes | None = field(default=None, repr=False)


async def addresses_of(endpoint: Endpoint) -> list[Address]:
    """Look up where *endpoint* is. Raises UpstreamUnavailable."""
    if endpoint.is_unix:
        return [Address(endpoint=endpoint, family=socket.AF_UNIX, sockaddr=endpoint.socket_path)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.hostaddr or endpoint.host,
            endpoint.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST if endpoint.hostaddr else 0,
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UpstreamUnavailable(f"could not look up the address of {endpoint}: {reason}") from None
    addresses = []
    for family, _, _, _, sockaddr in found:
        host, port = sockaddr[:2]
        # The other form, numbers and bytes, is what a Python without IPv6 gives for IPv6.
        if isinstance(host, str) and isinstance(port, int):
            addresses.append(Address(endpoint=endpoint, family=family, sockaddr=(host, port, *sockaddr[2:])))
    return addresses


async def dial(address: Address, encryption: Encryption, tls: TlsSettings, keepalive: Keepalive) -> Dialed:
    """Connect, and speak TLS as *encryption* says.

    Raises UpstreamUnavailable or ServerViolation; no socket is left then, nor when cancelled.
    """
    conversation = await _connect(address, keepalive)
    try:
        if encryption is Encryption.PLAIN:
            return Dialed(conversation=conversation)
        if not tls.direct:
            conversation.transport.write(ssl_request())
            if not _agreed(await conversation.receive(), address, encryption):
                return Dialed(conversation=conversation)
        certificate = await _start_tls(conversation, address, tls)
        # Garbage instead of a certificate can't come this far; but then it is the server's fault.
        return Dialed(conversation=conversation, tls=True, certificate_hash=binding_hash(certificate))
    except BaseException:
        conversation.abort()
        raise


async def _connect(address: Address, keepalive: Keepalive) -> Conversation:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if address.family != socket.AF_UNIX:
            for level, option, value in _options(keepalive):
                sock.setsockopt(level, option, value)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except OSError as error:
        sock.close()
        raise UpstreamUnavailable(f"could not connect to PostgreSQL at {address}: {_reason(error)}") from None
    except BaseException:
        sock.close()
        raise
    return await Conversation.over(sock)


def _reason(error: OSError) -> str:
    # asyncio puts its own words ("Connect call failed") in place of the system's.
    return os.strerror(error.errno) if error.errno else str(error)


def _options(keepalive: Keepalive) -> Iterator[tuple[int, int, int]]:
    yield socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    if not keepalive.enabled:
        return
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    # Linux's names, then macOS's; each system has only some of them.
    wanted = (
        ("TCP_KEEPIDLE", keepalive.idle_seconds),
        ("TCP_KEEPALIVE", keepalive.idle_seconds),
        ("TCP_KEEPINTVL", keepalive.interval_seconds),
        ("TCP_KEEPCNT", keepalive.count),
        ("TCP_USER_TIMEOUT", keepalive.user_timeout_ms),
    )
    for name, value in wanted:
        option: int | None = getattr(socket, name, None)
        if option is not None and value:
            yield socket.IPPROTO_TCP, option, value


def _agreed(answer: bytes, address: Address, encryption: Encryption) -> bool:
    """Judge the answer to an SSLRequest (PostgreSQL docs, 55.2.11)."""
    if answer in {b"S", b"N"}:
        if answer == b"N" and encryption is Encryption.TLS:
            raise UpstreamUnavailable(
                f"PostgreSQL at {address} does not offer TLS, and sslmode demands it",
                hint="Set ssl = on at the server, or sslmode=prefer if plain text is acceptable.",
            )
        return answer == b"S"
    if answer[:1] in {b"S", b"N"}:
        # Whoever sits in between could have put them there, to be taken for the server's (CVE-2021-23222).
        raise ServerViolation("PostgreSQL sent more than one byte in answer to an SSLRequest")
    # An ErrorResponse is not shown: nothing has proven yet that PostgreSQL wrote it (CVE-2024-10977).
    raise UpstreamUnavailable(f"the server at {address} answered an SSLRequest with something else than S or N")


async def _start_tls(conversation: Conversation, address: Address, settings: TlsSettings) -> bytes:
    loop = asyncio.get_running_loop()
    context = await asyncio.to_thread(make_context, settings)
    name = address.endpoint.host or address.endpoint.hostaddr
    try:
        transport = await loop.start_tls(
            conversation.transport, conversation, context, server_hostname=name if settings.sni else None
        )
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(
            f"TLS: the certificate of {address} can't be trusted: {error.verify_message}",
            hint=f"sslmode={settings.mode}: see sslrootcert, and the host's name in the certificate.",
        ) from None
    except ssl.SSLError as error:
        reason = (error.reason or "handshake failed").replace("_", " ").lower()
        raise TlsFailed(f"TLS with {address} failed: {reason}") from None
    except OSError as error:
        reason = _reason(error) or "the connection was closed during the handshake"
        raise TlsFailed(f"TLS with {address} failed: {reason}") from None
    if transport is None:
        raise TlsFailed(f"TLS with {address} failed: the connection was closed during the handshake")
    conversation.continue_on(transport)
    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    if settings.direct and session.selected_alpn_protocol() != ALPN:
        raise ServerViolation(f"direct TLS: the server at {address} did not agree on the protocol (ALPN)")
    return session.getpeercert(binary_form=True) or b""
