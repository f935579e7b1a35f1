"""Certificates made for a test: an authority, and what it signs."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, in PEM; and the certificate in DER."""

    certificate: bytes
    key: bytes
    der: bytes

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """Write `NAME.crt` and `NAME.key`; give their paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.touch(mode=0o600)
        key.write_bytes(self.key)
        return str(certificate), str(key)


def sign(
    *,
    name: str,
    key: CertificateIssuerPrivateKeyTypes,
    hash_algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    pss: bool = False,
) -> bytes:
    """Give a self-signed certificate in DER with that signature algorithm."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7, BEGIN, END)
    if pss:
        assert hash_algorithm is not None
        rsa_padding = padding.PSS(padding.MGF1(hash_algorithm), padding.PSS.DIGEST_LENGTH)
        return builder.sign(key, hash_algorithm, rsa_padding=rsa_padding).public_bytes(serialization.Encoding.DER)
    return builder.sign(key, hash_algorithm).public_bytes(serialization.Encoding.DER)


class Authority:
    """A certificate authority on an elliptic curve: quick to make.

    It states no key usage, as those of many clusters and companies don't: OpenSSL's strict checks would refuse it.
    """

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._serial = 1
        certificate = (
            x509.CertificateBuilder(self._name, self._name, self._key.public_key(), 1, BEGIN, END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, hosts: Sequence[str] = ()) -> Issued:
        """Sign a certificate for *name*, good for *hosts* (names and addresses)."""
        self._serial += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), self._serial, BEGIN, END)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_san(host) for host in hosts]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            certificate.public_bytes(serialization.Encoding.DER),
        )

    def revoke_nothing(self) -> bytes:
        """Give an empty revocation list, in PEM."""
        return self._revocations(())

    def revoke(self, issued: Issued) -> bytes:
        """Give a revocation list with *issued*, in PEM."""
        return self._revocations((x509.load_der_x509_certificate(issued.der).serial_number,))

    def _revocations(self, serials: Sequence[int]) -> bytes:
        builder = x509.CertificateRevocationListBuilder(self._name, BEGIN, END)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(BEGIN).build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
