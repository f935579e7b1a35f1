"""TLS for clients: the certificate that they are shown, and what theirs says of them."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from poolguard.core.errors import InvalidAuthorization, ServerViolation, SettingsError
from poolguard.settings.model import ClientCert, ClientsTls, TlsVersion
from poolguard.upstream.certificate import binding_hash, expires_at

ALPN: Final = "postgresql"
"""The name by which PostgreSQL's protocol is agreed on (PostgreSQL docs, 55.2.11)."""

_VERSIONS: Final = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}
_FIRST: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """What is in force for the next handshake; sessions that have begun keep what they began with."""

    context: ssl.SSLContext = field(repr=False)
    certificate: bytes = field(repr=False)
    """The leaf, in DER."""
    binding: bytes | None = field(repr=False)
    """What channel binding is tied to; None where the certificate can't be bound to (Ed25519)."""
    expires_at: float
    """Wall clock."""
    required: bool
    client_cert: ClientCert

    def check_client(self, session: ssl.SSLObject | None, user: str) -> None:
        """Raise InvalidAuthorization (28000) unless a client that came through *session* may be *user*.

        None: it came without TLS.
        """
        if session is None and self.required:
            raise InvalidAuthorization(
                "connections without TLS are not taken here", hint="Connect with sslmode=require or stricter."
            )
        if self.client_cert is not ClientCert.OPTIONAL:
            name = common_name(session)
            if self.client_cert is ClientCert.VERIFY_FULL:
                check_name(name, user)


def common_name(session: ssl.SSLObject | None) -> str:
    """The common name in the client's certificate, which the handshake has verified; empty if it has none there.

    Raises InvalidAuthorization (28000) if no certificate was sent.
    """
    # An empty dictionary would be a certificate that was not verified: such a handshake has failed.
    found = session.getpeercert() if session is not None else None
    if not found:
        raise InvalidAuthorization(
            "connection requires a valid client certificate", hint="Connect with sslmode=require, sslcert and sslkey."
        )
    subject: tuple[tuple[tuple[str, str], ...], ...] = found["subject"]  # type: ignore[assignment]
    return next((value for parts in subject for name, value in parts if name == "commonName"), "")


def check_name(name: str, user: str) -> None:
    """Raise InvalidAuthorization (28000) unless *name*, of a certificate, is *user*."""
    if not name or name != user:
        raise InvalidAuthorization(
            f'certificate authentication failed for user "{user}"',
            detail="The common name in the client's certificate is another one.",
        )


def load_client_tls(settings: ClientsTls) -> ClientTls:
    """Read certificate and key, and make what handshakes need. Reads files: not for the loop.

    Raises SettingsError that names the setting and its file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.set_alpn_protocols([ALPN])
    # As PostgreSQL: no client of ours takes up an old session, and each ticket costs a write; and no renegotiation,
    # by which a client could make us compute as often as it likes.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    der = _leaf(settings.cert_file)
    _load(
        "cert_file or key_file",
        f"{settings.cert_file}, {settings.key_file}",
        # Without a password OpenSSL would ask for one at the terminal: an empty one fails.
        lambda: context.load_cert_chain(settings.cert_file, settings.key_file, password=""),
    )
    if settings.ca_file is not None:
        file = settings.ca_file
        _load("ca_file", file, lambda: context.load_verify_locations(cafile=file))
        context.verify_mode = ssl.CERT_OPTIONAL
    try:
        binding, end = binding_hash(der), expires_at(der)
    except ServerViolation as error:
        raise _unusable("cert_file", settings.cert_file, error.message) from None
    return ClientTls(
        context=context,
        certificate=der,
        binding=binding,
        expires_at=end,
        required=settings.required,
        client_cert=settings.client_cert,
    )


def _leaf(path: str) -> bytes:
    try:
        found = _FIRST.search(Path(path).read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise _unusable("cert_file", path, error.strerror or "can't be read") from None
    if found is None:
        raise _unusable("cert_file", path, "holds no certificate in PEM")
    try:
        return ssl.PEM_cert_to_DER_cert(found[0])
    except ValueError:
        raise _unusable("cert_file", path, "its first certificate is not base64") from None


def _load(setting: str, files: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise _unusable(setting, files, (error.reason or "not usable").replace("_", " ").lower()) from None
    except OSError as error:
        raise _unusable(setting, files, error.strerror or "can't be read") from None


def _unusable(setting: str, files: str, why: str) -> SettingsError:
    return SettingsError(f"listen.clients.tls: {setting} ({files}): {why}")
