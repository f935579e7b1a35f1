"""SCRAM-SHA-256 as a client: which mechanism and channel-binding flag to use, and the exchange itself. Pure."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from poolguard.core.errors import ServerViolation, UpstreamUnavailable
from poolguard.wire.scram import (
    BINDING_TYPE,
    MAX_ITERATIONS,
    SCRAM,
    SCRAM_PLUS,
    decode_base64,
    mac,
    take_attribute,
    xor,
)


class ChannelBinding(StrEnum):
    """libpq's `channel_binding`."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True)
class Choice:
    """A mechanism, the GS2 flag that goes with it, and the data that it binds to."""

    mechanism: str
    flag: str
    data: bytes = field(default=b"", repr=False)

    @property
    def binds(self) -> bool:
        """True if the exchange proves that no one sits between the two ends of the TLS connection."""
        return self.mechanism == SCRAM_PLUS


def choose_mechanism(
    offered: Collection[str], *, tls: bool, certificate_hash: bytes | None, wish: ChannelBinding
) -> Choice:
    """Choose as libpq does (RFC 5802, section 6).

    *certificate_hash* is None without TLS, and for a certificate whose signature names no hash (Ed25519).
    Raises UpstreamUnavailable if what is offered and what is wished for don't meet.
    """
    if SCRAM_PLUS in offered and not tls:
        raise ServerViolation(f"PostgreSQL offered {SCRAM_PLUS} without TLS")
    can_bind = certificate_hash is not None and wish is not ChannelBinding.DISABLE
    if can_bind and SCRAM_PLUS in offered:
        return Choice(SCRAM_PLUS, f"p={BINDING_TYPE}", certificate_hash or b"")
    if wish is ChannelBinding.REQUIRE:
        raise UpstreamUnavailable(
            "channel_binding=require: PostgreSQL does not offer channel binding on this connection",
            hint="It needs TLS (sslmode=require or stricter), a password stored as scram-sha-256,"
            " and a server certificate that is not signed with Ed25519.",
        )
    if SCRAM in offered:
        # "y" lets a server that did offer -PLUS notice that somebody took the offer away.
        return Choice(SCRAM, "y" if can_bind else "n")
    raise UpstreamUnavailable(
        "PostgreSQL offers no SASL mechanism that poolguard knows",
        detail=f"Offered: {', '.join(sorted(offered)) or 'none'}.",
        hint="poolguard logs in with scram-sha-256, md5, password or trust: see pg_hba.conf.",
    )


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the password must be salted with, before `ScramClient.answer`."""

    salt: bytes
    iterations: int


class ScramClient:
    """One login: `first()`, `challenged(server-first)`, `answer(salted password)`, `verify(server-final)`.

    *nonce*: at least 18 random bytes in base64. *user* stays empty for PostgreSQL, as with libpq: there the
    startup packet names the user.
    """

    def __init__(self, choice: Choice, *, nonce: str, user: str = "") -> None:
        self.choice = choice
        self._user = user.replace("=", "=3D").replace(",", "=2C")
        self._nonce = nonce
        self._server_first = ""
        self._full_nonce = ""
        self._server_signature: bytes | None = None
        self._salted_for: Challenge | None = None

    @property
    def _bare(self) -> str:
        return f"n={self._user},r={self._nonce}"

    def first(self) -> bytes:
        """Give the client-first-message."""
        return f"{self.choice.flag},,{self._bare}".encode()

    def challenged(self, message: bytes) -> Challenge:
        """Read the server-first-message. Raises ServerViolation."""
        try:
            text = message.decode("ascii")
            nonce, rest = take_attribute(text, "r", ServerViolation)
            salt_text, rest = take_attribute(rest, "s", ServerViolation)
            count, _ = take_attribute(rest, "i", ServerViolation)
            salt = decode_base64(salt_text)
        except ValueError:
            raise ServerViolation("malformed SCRAM message from PostgreSQL") from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ServerViolation("PostgreSQL's SCRAM nonce does not continue ours")
        if not (count.isdigit() and len(count) <= 10 and 1 <= int(count) <= MAX_ITERATIONS):
            raise ServerViolation(f"PostgreSQL's SCRAM iteration count is not in 1..{MAX_ITERATIONS}")
        self._server_first, self._full_nonce = text, nonce
        self._salted_for = Challenge(salt, int(count))
        return self._salted_for

    def answer(self, salted: bytes) -> bytes:
        """Give the client-final-message. *salted*: `scram.salted_password` of what `challenged` told."""
        assert self._salted_for is not None, "answer() comes after challenged()"
        header = f"{self.choice.flag},,".encode() + self.choice.data
        without_proof = f"c={b64encode(header).decode()},r={self._full_nonce}"
        auth = f"{self._bare},{self._server_first},{without_proof}".encode()
        client_key = mac(salted, b"Client Key")
        proof = xor(client_key, mac(hashlib.sha256(client_key).digest(), auth))
        self._server_signature = mac(mac(salted, b"Server Key"), auth)
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def verify(self, message: bytes) -> None:
        """Check the server-final-message: it must prove that PostgreSQL knows the password too."""
        assert self._server_signature is not None, "verify() comes after answer()"
        try:
            value, rest = take_attribute(message.decode("ascii"), "v", ServerViolation)
            signature = decode_base64(value)
        except ValueError:
            raise ServerViolation("malformed SCRAM message from PostgreSQL") from None
        if rest or not hmac.compare_digest(signature, self._server_signature):
            raise ServerViolation(
                "PostgreSQL could not prove that it knows the password",
                hint="Something else than the expected server may be answering.",
            )
