"""The hash of tls-server-end-point, and a certificate's end, against certificates that a real library signed."""

import contextlib
import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import ServerViolation
from poolguard.upstream.certificate import binding_hash, expires_at
from tests.support.certificates import sign

RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
HASHES = (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
REAL = sign(name="db.example", key=CURVE, hash_algorithm=hashes.SHA384())


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda algorithm: str(algorithm.name))
@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "pss"])
def test_the_signatures_own_hash_is_used(
    algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512, kind: str
) -> None:
    certificate = sign(
        name="db.example", key=CURVE if kind == "ecdsa" else RSA, hash_algorithm=algorithm, pss=kind == "pss"
    )
    assert binding_hash(certificate) == hashlib.new(algorithm.name, certificate).digest()


def test_dsa_certificates_count_too() -> None:
    certificate = sign(name="x", key=dsa.generate_private_key(2048), hash_algorithm=hashes.SHA256())
    assert binding_hash(certificate) == hashlib.sha256(certificate).digest()


def test_ed25519_has_no_hash_to_bind_to() -> None:
    assert binding_hash(sign(name="x", key=ed25519.Ed25519PrivateKey.generate(), hash_algorithm=None)) is None


def der(tag: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    assert len(value) < 128, "short form only"
    return bytes([tag, len(value)]) + value


def certificate_with(algorithm: bytes) -> bytes:
    return der(0x30, der(0x30, b"\x02\x01\x01"), algorithm, b"\x03\x01\0")


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        ("300d06092a864886f70d0101040500", "md5WithRSAEncryption"),
        ("300d06092a864886f70d0101050500", "sha1WithRSAEncryption"),
        ("300906072a8648ce3d0401", "ecdsa-with-SHA1"),
        ("300d06092a864886f70d01010a3000", "RSASSA-PSS whose default hash is SHA-1"),
        ("301206092a864886f70d01010a3005a103020101", "RSASSA-PSS with other parameters only"),
        ("301606092a864886f70d01010a3009a007300506032b0e03", "RSASSA-PSS with a hash that is unknown"),
    ],
)
def test_md5_and_sha1_are_replaced_by_sha256(algorithm: str, name: str) -> None:
    """RFC 5929, section 4.1; nobody signs like that any more, so these are written by hand."""
    certificate = certificate_with(bytes.fromhex(algorithm))
    expected = None if "unknown" in name else hashlib.sha256(certificate).digest()
    assert binding_hash(certificate) == expected


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"0",
        b"\x30\x80\0\0",
        b"\x30\x85\0\0\0\0\x01x",
        b"\x30\x82\x01",
        b"\x31\0",
        b"\x30\x05\x30\x03\x02\x01\x01",
        certificate_with(b""),
        certificate_with(der(0x30, b"\x06\0")),
        certificate_with(der(0x30, b"\x06\x01\x80")),
        certificate_with(bytes.fromhex("300b06092a864886f70d01010a")),
    ],
)
def test_what_is_no_certificate_is_the_servers_fault(garbage: bytes) -> None:
    with pytest.raises(ServerViolation, match="certificate"):
        binding_hash(garbage)


@given(st.integers(0, len(REAL) - 1), st.integers(1, 255))
def test_damage_never_makes_it_fail_otherwise(at: int, change: int) -> None:
    damaged = REAL[:at] + bytes([REAL[at] ^ change]) + REAL[at + 1 :]
    with contextlib.suppress(ServerViolation):
        assert binding_hash(damaged) != binding_hash(REAL)


@given(st.integers(0, len(REAL) - 1))
def test_a_certificate_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ServerViolation):
        binding_hash(REAL[:length])


@pytest.mark.parametrize("year", [2020, 2049, 2050, 2120])
def test_the_end_is_read_in_both_forms_of_a_time(year: int) -> None:
    """RFC 5280, section 4.1.2.5: two digits of the year up to 2049, four from then on."""
    end = datetime.datetime(year, 2, 28, 23, 59, 58, tzinfo=datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, end - datetime.timedelta(days=1), end)
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert expires_at(made) == end.timestamp()


def test_the_end_of_the_last_century_is_no_end_of_this_one() -> None:
    assert expires_at(REAL) == 4733510400.0
    old = ended(der(0x17, b"990101000000Z"))
    assert expires_at(old) == 915148800.0


def ended(end: bytes) -> bytes:
    """A certificate of version 1 with that end, as far as its end."""
    validity = der(0x30, der(0x17, b"980101000000Z") + end)
    return der(0x30, der(0x30, der(0x02, b"\1") + der(0x30, b"") + der(0x30, b"") + validity))


@pytest.mark.parametrize(
    "garbage",
    [b"", REAL[:100], ended(b""), ended(der(0x17, b"tomorrow")), ended(der(0x02, b"990101000000Z"))],
    ids=["nothing", "cut short", "without an end", "with a word", "with a number"],
)
def test_an_end_that_is_none_is_refused(garbage: bytes) -> None:
    with pytest.raises(ServerViolation, match="certificate"):
        expires_at(garbage)


@given(st.integers(0, len(REAL) - 1), st.integers(1, 255))
def test_damage_never_makes_the_end_fail_otherwise(at: int, change: int) -> None:
    with contextlib.suppress(ServerViolation):
        expires_at(REAL[:at] + bytes([REAL[at] ^ change]) + REAL[at + 1 :])
