"""TLS to PostgreSQL: what sslmode and its files mean (PostgreSQL docs, 34.19), and the context made of them."""

import ssl
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

from poolguard.core.errors import SettingsError, UpstreamUnavailable


class SslMode(StrEnum):
    """libpq's `sslmode`."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"

    @property
    def is_strict(self) -> bool:
        """True if nothing is ever sent in the clear."""
        return self in {SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL}

    @property
    def verifies(self) -> bool:
        """True if a root certificate is a must."""
        return self in {SslMode.VERIFY_CA, SslMode.VERIFY_FULL}


class Encryption(StrEnum):
    """What one try on one address does."""

    PLAIN = "plain"
    TLS = "TLS"
    TLS_IF_OFFERED = "TLS if the server offers it"


def encryptions(mode: SslMode, *, is_unix: bool) -> tuple[Encryption, ...]:
    """Give what to try on one address, in this order; the second only if the first was refused."""
    if is_unix or mode is SslMode.DISABLE:
        return (Encryption.PLAIN,)
    if mode is SslMode.ALLOW:
        return (Encryption.PLAIN, Encryption.TLS)
    if mode is SslMode.PREFER:
        return (Encryption.TLS_IF_OFFERED, Encryption.PLAIN)
    return (Encryption.TLS,)


SYSTEM: Final = "system"
"""`sslrootcert=system`: the roots that the machine trusts."""

_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_DEFAULT_FILES: Final = {
    "sslrootcert": "root.crt",
    "sslcert": "postgresql.crt",
    "sslkey": "postgresql.key",
    "sslcrl": "root.crl",
}

FILE_KEYWORDS: Final = (*_DEFAULT_FILES, "sslcrldir")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How TLS is spoken. Paths are empty where there is no such file. A root certificate, wherever it comes from,
    makes every mode verify the server's chain, as in libpq."""

    mode: SslMode = SslMode.PREFER
    direct: bool = False
    """Begin with TLS instead of asking (sslnegotiation=direct, PostgreSQL 17)."""
    rootcert: str = ""
    cert: str = ""
    key: str = ""
    key_password: str = field(default="", repr=False)
    crl: str = ""
    crldir: str = ""
    sni: bool = True
    min_version: str = "TLSv1.2"
    max_version: str = ""

    def keywords(self) -> dict[str, str]:
        """Say the same in libpq's keywords."""
        files = {
            "sslrootcert": self.rootcert,
            "sslcert": self.cert,
            "sslkey": self.key,
            "sslpassword": self.key_password,
            "sslcrl": self.crl,
            "sslcrldir": self.crldir,
        }
        return {"sslmode": self.mode.value} | {keyword: value for keyword, value in files.items() if value}

    def files(self) -> Iterator[str]:
        """Give the paths that the context is made from."""
        paths = (self.rootcert, self.cert, self.key, self.crl, self.crldir)
        return (path for path in paths if path and path != SYSTEM)


def default_files(home: str) -> dict[str, str]:
    """Give libpq's default files by keyword; none without a home folder."""
    return {key: f"{home}/.postgresql/{name}" for key, name in _DEFAULT_FILES.items()} if home else {}


def read_tls_settings(given: Mapping[str, str], *, home: str, existing: Collection[str]) -> TlsSettings:
    """Read libpq's keywords. *existing*: which of the files, given or default, there are. Raises SettingsError."""
    system = given.get("sslrootcert") == SYSTEM
    try:
        mode = SslMode(given.get("sslmode", "verify-full" if system else "prefer"))
    except ValueError:
        raise SettingsError(f"upstream: sslmode is not one of {', '.join(SslMode)}") from None
    if system and mode is not SslMode.VERIFY_FULL:
        raise SettingsError(
            f"upstream: sslmode={mode} is too weak for sslrootcert=system", hint="Write sslmode=verify-full."
        )
    if mode is SslMode.DISABLE:
        return TlsSettings(mode=mode)
    paths = {key: path for key, path in default_files(home).items() if path in existing}
    for keyword in FILE_KEYWORDS:
        path = given.get(keyword, "")
        if path and path != SYSTEM and path not in existing:
            raise SettingsError(f"upstream: {keyword}: there is no file {path}, or it can't be read")
        if path:
            paths[keyword] = path
    if "sslcert" not in paths:
        paths.pop("sslkey", None)
    elif "sslkey" not in paths:
        raise SettingsError("upstream: sslcert is given without sslkey", hint="Give the path of its private key.")
    if mode.verifies and "sslrootcert" not in paths:
        raise SettingsError(
            f"upstream: sslmode={mode} needs a root certificate",
            hint="Write sslrootcert=/path/to/ca.crt, or sslrootcert=system for the machine's own roots.",
        )
    return TlsSettings(
        mode=mode,
        direct=_direct(given, mode),
        rootcert=paths.get("sslrootcert", ""),
        cert=paths.get("sslcert", ""),
        key=paths.get("sslkey", ""),
        key_password=given.get("sslpassword", ""),
        crl=paths.get("sslcrl", ""),
        crldir=paths.get("sslcrldir", ""),
        sni=_sni(given, mode),
        min_version=_version(given, "ssl_min_protocol_version", "TLSv1.2"),
        max_version=_version(given, "ssl_max_protocol_version", ""),
    )


def _direct(given: Mapping[str, str], mode: SslMode) -> bool:
    negotiation = given.get("sslnegotiation", "postgres")
    if negotiation not in {"postgres", "direct"}:
        raise SettingsError("upstream: sslnegotiation is not postgres or direct")
    if negotiation == "direct" and not mode.is_strict:
        raise SettingsError(f"upstream: sslnegotiation=direct needs sslmode=require or stricter, not {mode}")
    return negotiation == "direct"


def _sni(given: Mapping[str, str], mode: SslMode) -> bool:
    sni = given.get("sslsni", "1")
    if sni not in {"0", "1"}:
        raise SettingsError("upstream: sslsni is not 0 or 1")
    if sni == "0" and mode is SslMode.VERIFY_FULL:
        raise SettingsError("upstream: sslsni=0 can't be combined with sslmode=verify-full")
    return sni == "1"


def _version(given: Mapping[str, str], keyword: str, default: str) -> str:
    name = given.get(keyword, default)
    if name and name not in _VERSIONS:
        raise SettingsError(f"upstream: {keyword} is not one of {', '.join(_VERSIONS)}")
    return name


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Make the context, or give the one made before from the same files. Reads files: not for the loop.

    Raises UpstreamUnavailable that names the file, since files may be changed under a running daemon.
    """
    try:
        stamps = tuple((path, _stamp(path)) for path in settings.files())
    except OSError as error:
        raise UpstreamUnavailable(f"TLS: {error.filename}: {error.strerror}") from None
    return _context(settings, stamps)


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _context(settings: TlsSettings, _stamps: tuple[tuple[str, tuple[int, int]], ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.mode is SslMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_REQUIRED if settings.rootcert else ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    context.minimum_version = _VERSIONS[settings.min_version]
    if settings.max_version:
        context.maximum_version = _VERSIONS[settings.max_version]
    if settings.rootcert == SYSTEM:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif settings.rootcert:
        _load("sslrootcert", settings.rootcert, lambda path: context.load_verify_locations(cafile=path))
    if settings.rootcert and settings.crl:
        _load("sslcrl", settings.crl, lambda path: context.load_verify_locations(cafile=path))
    if settings.rootcert and settings.crldir:
        _load("sslcrldir", settings.crldir, lambda path: context.load_verify_locations(capath=path))
    if settings.rootcert and (settings.crl or settings.crldir):
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    if settings.cert:
        _check_key(settings.key)
        # Without a password OpenSSL would ask for one at the terminal: give an empty one, which fails.
        _load(
            "sslcert or sslkey",
            settings.cert,
            lambda path: context.load_cert_chain(path, settings.key, password=settings.key_password),
        )
    return context


def _load(keyword: str, path: str, load: Callable[[str], None]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        reason = error.reason or "not usable"
        raise UpstreamUnavailable(f"TLS: {keyword} {path}: {reason.replace('_', ' ').lower()}") from None
    except OSError as error:
        raise UpstreamUnavailable(f"TLS: {keyword} {path}: {error.strerror}") from None


def _check_key(path: str) -> None:
    """libpq's rule: 0600 or less if it is ours, 0640 or less if it is root's."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UpstreamUnavailable(f"TLS: sslkey {path}: {error.strerror}") from None
    allowed = 0o640 if status.st_uid == 0 else 0o600
    if stat.S_IMODE(status.st_mode) & 0o777 & ~allowed:
        raise UpstreamUnavailable(
            f"TLS: sslkey {path}: the private key file has group or world access",
            hint="chmod 0600 if it is owned by poolguard's user, 0640 if it is owned by root.",
        )
