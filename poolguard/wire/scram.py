"""SCRAM-SHA-256 (RFC 5802, RFC 7677): secrets, and the server's side, which proves a client without any PBKDF2.

Pure: nonces and salts are arguments. `scram_client` has the other side.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, Self

from poolguard.core.errors import AuthenticationFailed, ClientViolation, NotSupported, PoolguardError
from poolguard.wire.saslprep import prepare_password

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
BINDING_TYPE: Final = "tls-server-end-point"
DEFAULT_ITERATIONS: Final = 4096
MAX_ITERATIONS: Final = 10_000_000
"""More than that is several seconds of work: refused, whoever asks for it."""
MAX_MESSAGE: Final = 1024
"""Bytes of one SASL message; PostgreSQL's own limit (PG_MAX_SASL_MESSAGE_LENGTH)."""

_KEY_BYTES: Final = 32


@lru_cache(maxsize=256)
def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """Derive SaltedPassword (RFC 5802, section 3); some 2 ms for 4096 iterations, free when it is known already.

    Kept, because each of a pool's servers logs in with the same password, salt and count: a storm of logins costs
    one derivation.
    """
    return hashlib.pbkdf2_hmac("sha256", prepare_password(password), salt, iterations)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, message, "sha256")


def xor(left: bytes, right: bytes) -> bytes:
    """Bytewise exclusive or of two values of one length."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def decode_base64(text: str) -> bytes:
    """Decode *text*. Raises ValueError unless it is the one canonical form of its value.

    Other forms differ in bits that decode to nothing: a message changed on its way could pass.
    """
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise ValueError("malformed base64") from None
    if b64encode(value).decode() != text:
        raise ValueError("base64 is not canonical")
    return value


def take_attribute(message: str, name: str, blame: type[PoolguardError]) -> tuple[str, str]:
    """Split `name=value[,rest]` into (value, rest). Raises *blame* if *message* does not begin with *name*."""
    attribute, _, rest = message.partition(",")
    if not attribute.startswith(f"{name}="):
        raise blame(f"malformed SCRAM message: attribute {name!r} expected")
    return attribute[2:], rest


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """What a server keeps of a password. It can verify a client, and can't log in anywhere."""

    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    iterations: int = DEFAULT_ITERATIONS
    mock: bool = False
    """Of a user that doesn't exist: the exchange goes its whole way, and fails like a wrong password."""

    @classmethod
    def from_password(cls, password: str, *, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> Self:
        """Derive the secret; costs one PBKDF2 (some 2 ms). *salt*: 16 random bytes, as PostgreSQL takes."""
        salted = salted_password(password, salt, iterations)
        stored = hashlib.sha256(mac(salted, b"Client Key")).digest()
        return cls(stored, mac(salted, b"Server Key"), salt, iterations)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read PostgreSQL's `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (column rolpassword of pg_authid).

        Raises ValueError that says what is wrong and holds nothing of *text*.
        """
        try:
            mechanism, counted, keys = text.strip().split("$")
            iterations, salt = counted.split(":")
            stored, server = (decode_base64(part) for part in keys.split(":"))
            secret = cls(stored, server, decode_base64(salt), int(iterations))
        except ValueError:
            raise ValueError("not a SCRAM secret: SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY expected") from None
        if mechanism != SCRAM or len(stored) != _KEY_BYTES or len(server) != _KEY_BYTES or not secret.salt:
            raise ValueError("not a SCRAM secret: mechanism SCRAM-SHA-256 and two keys of 32 bytes expected")
        if not 1 <= secret.iterations <= MAX_ITERATIONS:
            raise ValueError(f"the SCRAM secret's iteration count is not in 1..{MAX_ITERATIONS}")
        return secret

    @classmethod
    def for_unknown_user(cls, user: str, *, seed: bytes) -> Self:
        """Make up the secret of a user that doesn't exist; the same one each time for one *seed* (32 random bytes,
        drawn at start), so that a changing salt doesn't tell which users exist."""
        salt = mac(seed, b"salt:" + user.encode("utf-8", "surrogateescape"))[:16]
        return cls(mac(seed, b"stored"), mac(seed, b"server"), salt, DEFAULT_ITERATIONS, mock=True)


def is_scram_secret(text: str) -> bool:
    """Tell whether *text* is meant as a secret and not as a password, as PostgreSQL tells them apart."""
    return text.strip().startswith(f"{SCRAM}$")


@dataclass(frozen=True, slots=True)
class SaslContinue:
    """Send this as AuthenticationSASLContinue and wait for the client's next message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SaslFinal:
    """The client is proven: send this as AuthenticationSASLFinal, then AuthenticationOk."""

    payload: bytes


class _Awaits(Enum):
    INITIAL = "SASLInitialResponse"
    FIRST = "client-first-message"
    PROOF = "client-final-message"
    NOTHING = "nothing"


class ScramServer:
    """One client's login. Feed it the bodies of the client's `p` messages.

    *user* is for the error's text. *nonce*: at least 18 random bytes in base64. *certificate_hash*: of our own
    certificate, where the client came through TLS and -PLUS is offered; None otherwise. Any error ends the exchange.
    """

    def __init__(self, secret: ScramSecret, *, user: str, nonce: str, certificate_hash: bytes | None = None) -> None:
        self._secret = secret
        self._user = user
        self._server_nonce = nonce
        self._certificate_hash = certificate_hash
        self._awaits = _Awaits.INITIAL
        self._plus = False
        self._nonce = ""
        self._auth_start = ""
        self._binding = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What to offer in AuthenticationSASL, best first."""
        return (SCRAM,) if self._certificate_hash is None else (SCRAM_PLUS, SCRAM)

    def receive(self, body: bytes) -> SaslContinue | SaslFinal:
        """Take one message's body. Raises AuthenticationFailed for a wrong proof, ClientViolation for nonsense."""
        awaits, self._awaits = self._awaits, _Awaits.NOTHING
        match awaits:
            case _Awaits.INITIAL:
                data = self._initial(body)
                if data is None:
                    # A client may leave out the initial response (PostgreSQL docs, 55.3.1): ask for it.
                    self._awaits = _Awaits.FIRST
                    return SaslContinue(b"")
                return self._first(_text(data))
            case _Awaits.FIRST:
                return self._first(_text(body))
            case _Awaits.PROOF:
                return self._proof(_text(body))
            case _Awaits.NOTHING:
                raise ClientViolation("a SASL message came when none was expected")

    def _initial(self, body: bytes) -> bytes | None:
        mechanism, terminator, rest = body.partition(b"\0")
        if not terminator or len(rest) < 4:
            raise ClientViolation("malformed SASLInitialResponse")
        name = mechanism.decode("ascii", "replace")
        if name not in self.mechanisms:
            raise ClientViolation(f"the client chose a SASL mechanism that was not offered: {name[:32]!r}")
        self._plus = name == SCRAM_PLUS
        length = int.from_bytes(rest[:4], "big", signed=True)
        if length == -1 and len(rest) == 4:
            return None
        if length != len(rest) - 4:
            raise ClientViolation("malformed SASLInitialResponse: its inner length does not match")
        return rest[4:]

    def _first(self, message: str) -> SaslContinue:
        flag, _, rest = message.partition(",")
        identity, comma, bare = rest.partition(",")
        if not comma:
            raise ClientViolation("malformed SCRAM message: GS2 header expected")
        self._check_flag(flag)
        if identity:
            raise NotSupported("the client asks for a SASL authorization identity, which is not supported")
        if bare.startswith("m="):
            raise NotSupported("the client requires a SCRAM extension that is not supported")
        # The user in here is ignored, as PostgreSQL does: the startup packet named it, and libpq sends `n=`.
        _, after_user = take_attribute(bare, "n", ClientViolation)
        client_nonce, _ = take_attribute(after_user, "r", ClientViolation)
        if not client_nonce:
            raise ClientViolation("malformed SCRAM message: the nonce is empty")
        self._nonce = client_nonce + self._server_nonce
        salt = b64encode(self._secret.salt).decode()
        reply = f"r={self._nonce},s={salt},i={self._secret.iterations}"
        self._auth_start = f"{bare},{reply}"
        self._binding = f"{flag},,".encode() + (self._certificate_hash or b"" if self._plus else b"")
        self._awaits = _Awaits.PROOF
        return SaslContinue(reply.encode())

    def _check_flag(self, flag: str) -> None:
        # RFC 5802, section 6.
        if self._plus and flag != f"p={BINDING_TYPE}":
            raise ClientViolation(f"{SCRAM_PLUS} needs channel binding of type {BINDING_TYPE}")
        if not self._plus and flag == "y" and self._certificate_hash is not None:
            raise AuthenticationFailed(
                "SCRAM channel binding negotiation error",
                detail="The client supports channel binding and believes that the server doesn't, but it does:"
                " somebody between them may have removed the offer.",
            )
        if not self._plus and flag not in {"n", "y"}:
            raise ClientViolation(f"malformed SCRAM message: channel binding flag {flag[:32]!r} with {SCRAM}")

    def _proof(self, message: str) -> SaslFinal:
        without_proof, comma, proof_attribute = message.rpartition(",")
        if not comma or not proof_attribute.startswith("p="):
            raise ClientViolation("malformed SCRAM message: attribute 'p' expected at the end")
        binding, rest = take_attribute(without_proof, "c", ClientViolation)
        nonce, _ = take_attribute(rest, "r", ClientViolation)
        try:
            bound, proof = decode_base64(binding), decode_base64(proof_attribute[2:])
        except ValueError as error:
            raise ClientViolation(f"malformed SCRAM message: {error}") from None
        if len(proof) != _KEY_BYTES:
            raise ClientViolation(f"malformed SCRAM message: a proof of {_KEY_BYTES} bytes expected")
        if not hmac.compare_digest(nonce.encode(), self._nonce.encode()):
            raise ClientViolation("invalid SCRAM response: the nonce does not match")
        if not hmac.compare_digest(bound, self._binding):
            raise AuthenticationFailed("SCRAM channel binding check failed")
        auth = f"{self._auth_start},{without_proof}".encode()
        client_key = xor(proof, mac(self._secret.stored_key, auth))
        proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._secret.stored_key)
        if not proven or self._secret.mock:
            raise AuthenticationFailed(f'password authentication failed for user "{self._user}"')
        return SaslFinal(b"v=" + b64encode(mac(self._secret.server_key, auth)))


def _text(message: bytes) -> str:
    if len(message) > MAX_MESSAGE:
        raise ClientViolation(f"SASL message of {len(message)} bytes: at most {MAX_MESSAGE} are allowed")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        raise ClientViolation("malformed SCRAM message: not UTF-8") from None
    if "\0" in text:
        raise ClientViolation("malformed SCRAM message: it holds a zero byte")
    return text
