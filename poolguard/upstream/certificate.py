"""What must be known of a certificate: the hash that SCRAM's channel binding is tied to, and when it expires.

Pure. The hash is tls-server-end-point's (RFC 5929, section 4.1). The standard library tells neither of a certificate
that no peer has shown, so the little DER on the way there is read here: Certificate ::= SEQUENCE { tbsCertificate,
signatureAlgorithm, signatureValue } (RFC 5280, section 4.1).
"""

import hashlib
from datetime import UTC, datetime
from typing import Final

from poolguard.core.errors import ServerViolation

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_CONTEXT_0: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18

_HASH_OF_SIGNATURE: Final = {
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.2.840.10040.4.3": "sha1",
    "2.16.840.1.101.3.4.3.1": "sha224",
    "2.16.840.1.101.3.4.3.2": "sha256",
    "2.16.840.1.101.3.4.3.9": "sha3_224",
    "2.16.840.1.101.3.4.3.10": "sha3_256",
    "2.16.840.1.101.3.4.3.11": "sha3_384",
    "2.16.840.1.101.3.4.3.12": "sha3_512",
    "2.16.840.1.101.3.4.3.13": "sha3_224",
    "2.16.840.1.101.3.4.3.14": "sha3_256",
    "2.16.840.1.101.3.4.3.15": "sha3_384",
    "2.16.840.1.101.3.4.3.16": "sha3_512",
}
"""RSA with PKCS #1 v1.5, ECDSA, DSA, ECDSA and RSA with SHA-3."""

_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
_HASH: Final = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
"""RSASSA-PSS names its hash in its parameters; SHA-1 if it doesn't (RFC 4055, section 3.1)."""


def binding_hash(certificate: bytes) -> bytes | None:
    """Hash *certificate* (DER) with its signature's own hash, SHA-256 in place of MD5 and SHA-1.

    None if its signature has no single hash (Ed25519): such a certificate can't be bound to. Raises
    ServerViolation for what is no certificate.
    """
    name = _hash_name(certificate)
    if name is None:
        return None
    return hashlib.new("sha256" if name in {"md5", "sha1"} else name, certificate).digest()


def expires_at(certificate: bytes) -> float:
    """Seconds since 1970 at which *certificate* (DER) ceases to be good (notAfter; RFC 5280, section 4.1.2.5).

    Raises ServerViolation for what is no certificate.
    """
    body, _ = _expect(certificate, 0, _SEQUENCE)
    rest, _ = _expect(body, 0, _SEQUENCE)
    at = 0
    # Version (left out in version 1), serial number, signature, issuer; then validity.
    for _ in range(4 if rest[:1] == bytes((_CONTEXT_0,)) else 3):
        at = _element(rest, at)[1]
    validity, _ = _expect(rest, at, _SEQUENCE)
    end = _element(validity, 0)[1]
    text, _ = _element(validity, end)
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(validity[end])
    try:
        parsed = datetime.strptime(text.decode("ascii"), form or "").replace(tzinfo=UTC)
    except ValueError:
        raise ServerViolation("malformed certificate: its end is no time") from None
    if form is not None and form.startswith("%y") and parsed.year >= 2050:  # two digits mean 1950 to 2049
        parsed = parsed.replace(year=parsed.year - 100)
    return parsed.timestamp()


def _hash_name(certificate: bytes) -> str | None:
    body = _expect(certificate, 0, _SEQUENCE)[0]
    _, after_tbs = _expect(body, 0, _SEQUENCE)
    algorithm, _ = _expect(body, after_tbs, _SEQUENCE)
    identifier, after_identifier = _expect(algorithm, 0, _OBJECT_IDENTIFIER)
    oid = _dotted(identifier)
    if oid == _RSASSA_PSS:
        return _pss_hash_name(algorithm, after_identifier)
    return _HASH_OF_SIGNATURE.get(oid)


def _pss_hash_name(algorithm: bytes, at: int) -> str | None:
    parameters, _ = _expect(algorithm, at, _SEQUENCE)
    if not parameters or parameters[0] != _CONTEXT_0:
        return "sha1"
    explicit, _ = _expect(parameters, 0, _CONTEXT_0)
    hash_algorithm, _ = _expect(explicit, 0, _SEQUENCE)
    identifier, _ = _expect(hash_algorithm, 0, _OBJECT_IDENTIFIER)
    return _HASH.get(_dotted(identifier))


def _expect(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """The value of the element at *at*, which must be a *tag*, and where the next one begins."""
    if len(data) < at + 2 or data[at] != tag:
        raise ServerViolation("malformed server certificate")
    return _element(data, at)


def _element(data: bytes, at: int) -> tuple[bytes, int]:
    """The value of the element at *at*, whatever it is, and where the next one begins."""
    if len(data) < at + 2:
        raise ServerViolation("malformed server certificate")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        # 0 would be an indefinite length, which DER has not; 4 bytes are far more than any certificate has.
        if not 1 <= count <= 4 or len(data) < start + count:
            raise ServerViolation("malformed server certificate")
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if len(data) < start + length:
        raise ServerViolation("malformed server certificate")
    return data[start : start + length], start + length


def _dotted(encoded: bytes) -> str:
    """An object identifier's usual form (X.690, 8.19)."""
    numbers, value = [], 0
    for byte in encoded:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers or encoded[-1] & 0x80:
        raise ServerViolation("malformed server certificate")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
