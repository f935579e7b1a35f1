"""sslmode and its files."""

import os
import ssl
from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError, UpstreamUnavailable
from poolguard.upstream.tls import Encryption, SslMode, TlsSettings, encryptions, make_context, read_tls_settings
from tests.support.certificates import Authority

PLAIN, TLS, OFFERED = Encryption.PLAIN, Encryption.TLS, Encryption.TLS_IF_OFFERED


def read(*existing: str, home: str = "", **keywords: str) -> TlsSettings:
    return read_tls_settings(keywords, home=home, existing=existing)


@pytest.mark.parametrize(
    ("mode", "tries"),
    [
        (SslMode.DISABLE, (PLAIN,)),
        (SslMode.ALLOW, (PLAIN, TLS)),
        (SslMode.PREFER, (OFFERED, PLAIN)),
        (SslMode.REQUIRE, (TLS,)),
        (SslMode.VERIFY_CA, (TLS,)),
        (SslMode.VERIFY_FULL, (TLS,)),
    ],
)
def test_what_is_tried(mode: SslMode, tries: tuple[Encryption, ...]) -> None:
    assert encryptions(mode, is_unix=False) == tries
    assert encryptions(mode, is_unix=True) == (PLAIN,)
    assert mode.is_strict is (tries == (TLS,))


def test_the_default_is_prefer_and_verifies_nothing() -> None:
    assert read() == TlsSettings(mode=SslMode.PREFER)


def test_the_systems_roots_make_it_verify_full() -> None:
    assert read(sslrootcert="system") == TlsSettings(mode=SslMode.VERIFY_FULL, rootcert="system")
    with pytest.raises(SettingsError, match="too weak for sslrootcert=system"):
        read(sslrootcert="system", sslmode="verify-ca")


def test_files_in_the_home_folder_are_taken_if_they_exist() -> None:
    folder = "/home/me/.postgresql"
    files = [f"{folder}/{name}" for name in ("root.crt", "postgresql.crt", "postgresql.key", "root.crl")]
    settings = read(*files, home="/home/me")
    assert (settings.rootcert, settings.cert, settings.key, settings.crl) == tuple(files)
    assert read(*files, home="/home/you") == TlsSettings()
    assert read(*files, home="/home/me", sslmode="disable") == TlsSettings(mode=SslMode.DISABLE)


def test_a_key_without_a_certificate_is_not_used() -> None:
    assert read("/home/me/.postgresql/postgresql.key", home="/home/me").key == ""


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"sslmode": "on"}, "sslmode is not one of"),
        ({"sslmode": "verify-ca"}, "needs a root certificate"),
        ({"sslmode": "verify-full"}, "needs a root certificate"),
        ({"sslrootcert": "/none"}, "sslrootcert: there is no file /none"),
        ({"sslcrldir": "/none"}, "sslcrldir: there is no file /none"),
        ({"sslcert": "/there"}, "sslcert is given without sslkey"),
        ({"sslnegotiation": "direct"}, "direct needs sslmode=require"),
        ({"sslnegotiation": "maybe"}, "sslnegotiation is not postgres or direct"),
        ({"sslsni": "yes"}, "sslsni is not 0 or 1"),
        ({"sslsni": "0", "sslrootcert": "system"}, "sslsni=0 can't be combined"),
        ({"ssl_min_protocol_version": "SSLv3"}, "ssl_min_protocol_version is not one of"),
    ],
)
def test_what_is_wrong_is_named(keywords: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read("/there", **keywords)


def test_settings_say_the_same_to_libpq() -> None:
    settings = read(
        "/c", "/k", "/r", sslmode="require", sslcert="/c", sslkey="/k", sslrootcert="/r", sslpassword="geheim"
    )
    assert settings.keywords() == {
        "sslmode": "require",
        "sslrootcert": "/r",
        "sslcert": "/c",
        "sslkey": "/k",
        "sslpassword": "geheim",
    }
    assert "geheim" not in repr(settings)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    authority = Authority()
    certificate, key = authority.issue("me").write(tmp_path, "me")
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "ca.crl").write_bytes(authority.revoke_nothing())
    return {"cert": certificate, "key": key, "ca": str(tmp_path / "ca.crt"), "crl": str(tmp_path / "ca.crl")}


@pytest.mark.parametrize(
    ("mode", "with_root", "verifies", "checks_name"),
    [
        (SslMode.PREFER, False, False, False),
        (SslMode.REQUIRE, False, False, False),
        (SslMode.REQUIRE, True, True, False),
        (SslMode.VERIFY_CA, True, True, False),
        (SslMode.VERIFY_FULL, True, True, True),
    ],
)
def test_a_root_certificate_makes_every_mode_verify(
    files: dict[str, str], mode: SslMode, with_root: bool, verifies: bool, checks_name: bool
) -> None:
    context = make_context(TlsSettings(mode=mode, rootcert=files["ca"] if with_root else ""))
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verifies, checks_name)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_versions_and_revocations_are_applied(files: dict[str, str]) -> None:
    context = make_context(
        TlsSettings(rootcert=files["ca"], crl=files["crl"], min_version="TLSv1.3", max_version="TLSv1.3")
    )
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    assert context.verify_flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


def test_the_systems_roots_can_be_loaded() -> None:
    assert make_context(TlsSettings(rootcert="system")).verify_mode is ssl.CERT_REQUIRED


def test_a_context_is_made_again_only_when_a_file_has_changed(files: dict[str, str]) -> None:
    settings = TlsSettings(rootcert=files["ca"], cert=files["cert"], key=files["key"])
    first = make_context(settings)
    assert make_context(settings) is first
    os.utime(files["ca"], ns=(1, 1))
    assert make_context(settings) is not first


def test_a_key_that_others_can_read_is_refused(files: dict[str, str]) -> None:
    Path(files["key"]).chmod(0o644)
    with pytest.raises(UpstreamUnavailable, match="group or world access") as refused:
        make_context(TlsSettings(cert=files["cert"], key=files["key"]))
    assert "chmod 0600" in refused.value.hint


@pytest.mark.parametrize("broken", ["ca", "crl", "cert"])
def test_a_broken_file_is_named(files: dict[str, str], broken: str) -> None:
    Path(files[broken]).write_text("nonsense")
    settings = TlsSettings(rootcert=files["ca"], crl=files["crl"], cert=files["cert"], key=files["key"])
    with pytest.raises(UpstreamUnavailable, match=files[broken]):
        make_context(settings)


def test_a_file_that_went_away_is_named(files: dict[str, str]) -> None:
    Path(files["ca"]).unlink()
    with pytest.raises(UpstreamUnavailable, match=r"ca\.crt: No such file"):
        make_context(TlsSettings(rootcert=files["ca"]))
