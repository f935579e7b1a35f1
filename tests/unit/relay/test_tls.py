"""What clients are shown, and what theirs says of them. Handshakes are in tests/integration/relay/test_tls.py."""

import hashlib
import ssl
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from poolguard.core.errors import InvalidAuthorization, SettingsError
from poolguard.relay.tls import check_name, common_name, load_client_tls
from poolguard.settings.model import ClientCert, ClientsTls
from tests.support.certificates import END, Authority

AUTHORITY = Authority()


@pytest.fixture
def settings(tmp_path: Path) -> ClientsTls:
    cert, key = AUTHORITY.issue("poolguard").write(tmp_path, "server")
    return ClientsTls(cert_file=cert, key_file=key)


def test_what_a_certificate_gives(settings: ClientsTls, tmp_path: Path) -> None:
    """S12: the leaf is bound to, also with its chain behind it."""
    leaf = Path(settings.cert_file).read_bytes()
    Path(settings.cert_file).write_bytes(b"comment\n" + leaf + AUTHORITY.certificate)
    tls = load_client_tls(settings)
    assert tls.certificate == ssl.PEM_cert_to_DER_cert(leaf.decode())
    assert tls.binding == hashlib.sha256(tls.certificate).digest()
    assert tls.expires_at == END.timestamp()
    assert tls.context.verify_mode is ssl.CERT_NONE
    for hidden in (repr(tls.binding), repr(tls.certificate)):
        assert hidden not in repr(tls)


def test_an_authority_asks_for_certificates_and_demands_none_yet(settings: ClientsTls, tmp_path: Path) -> None:
    """The demand is told as an error of the protocol, not as a broken handshake."""
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    tls = load_client_tls(
        ClientsTls(
            cert_file=settings.cert_file,
            key_file=settings.key_file,
            ca_file=str(tmp_path / "ca.crt"),
            client_cert=ClientCert.VERIFY_FULL,
        )
    )
    assert tls.context.verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("what", "text", "words"),
    [
        ("cert_file", None, "No such file"),
        ("cert_file", "", "no certificate in PEM"),
        ("cert_file", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "cert_file"),
        ("key_file", None, "No such file"),
        ("key_file", "nothing", "key_file"),
        ("ca_file", None, "No such file"),
        ("ca_file", "nothing", "ca_file"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(
    settings: ClientsTls, tmp_path: Path, what: str, text: str | None, words: str
) -> None:
    broken = tmp_path / "broken.pem"
    if text is not None:
        broken.write_text(text)
    with pytest.raises(SettingsError, match=r"broken\.pem") as refused:
        load_client_tls(replace(settings, **{what: str(broken)}))  # type: ignore[arg-type]  # one of the files
    assert words in refused.value.message
    assert refused.value.message.startswith("listen.clients.tls: ")


def test_a_key_that_belongs_to_another_certificate_or_has_a_passphrase_is_refused(
    settings: ClientsTls, tmp_path: Path
) -> None:
    other = AUTHORITY.issue("other")
    Path(settings.key_file).write_bytes(other.key)
    with pytest.raises(SettingsError, match="mismatch"):
        load_client_tls(settings)


class Session:
    """What is asked of a handshake's result."""

    def __init__(self, names: list[tuple[str, str]] | None) -> None:
        self._names = names

    def getpeercert(self) -> dict[str, object] | None:
        return None if self._names is None else {"subject": tuple((name,) for name in self._names)}


def session(*names: tuple[str, str]) -> ssl.SSLObject:
    return cast("ssl.SSLObject", Session(list(names)))


@pytest.mark.parametrize("without", [None, cast("ssl.SSLObject", Session(None))])
def test_no_certificate_is_28000(without: ssl.SSLObject | None) -> None:
    with pytest.raises(InvalidAuthorization, match="requires a valid client certificate") as refused:
        common_name(without)
    assert refused.value.sqlstate == "28000"


def test_the_first_common_name_counts() -> None:
    """As in PostgreSQL, which asks OpenSSL for it."""
    both = session(("organizationName", "x"), ("commonName", "app"), ("commonName", "postgres"))
    assert common_name(both) == "app"
    assert common_name(session(("organizationName", "x"))) == ""


@pytest.mark.parametrize(("name", "user"), [("app", "App"), ("", ""), ("", "app"), ("app ", "app"), ("app", "")])
def test_a_name_must_be_the_users(name: str, user: str) -> None:
    with pytest.raises(InvalidAuthorization):
        check_name(name, user)
    check_name("app", "app")
