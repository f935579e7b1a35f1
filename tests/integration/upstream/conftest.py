"""A PostgreSQL whose users log in each in another way, with TLS and without."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.settings.model import Upstream
from poolguard.upstream.target import Target, resolve_target
from tests.support.certificates import Authority

PASSWORD = "s\u00e9cret, with=signs"
HBA = (
    "local all scram_user scram-sha-256",
    "host all password_user all password",
    "host all md5_user all md5",
    "host all scram_user all scram-sha-256",
    "host all trust_user all trust",
    "hostssl all tls_user all scram-sha-256",
    "hostnossl all plain_user all scram-sha-256",
    "hostssl all cert_user all cert",
    "host all tls_user,plain_user,cert_user all reject",
)


@dataclass(frozen=True, slots=True)
class Servers:
    """One PostgreSQL with TLS and one without; both know the same users."""

    tls: EmbeddedPostgres
    plain: EmbeddedPostgres
    authority: str
    other_authority: str
    client_certificate: tuple[str, str]
    empty_revocations: str
    revocations: str

    def target(self, postgres: EmbeddedPostgres, user: str = "scram_user", **keywords: str) -> Target:
        """A target on *postgres*; the environment of the test does not count."""
        given = {
            "host": postgres.host, "port": str(postgres.port), "user": user, "dbname": "postgres",
            "password": PASSWORD, **keywords,
        }  # fmt: skip
        pairs = " ".join(f"{name}='{value}'" for name, value in given.items() if value)
        return resolve_target(Upstream(url=pairs, connect_timeout=20.0), {})


def prepare(postgres: EmbeddedPostgres) -> None:
    with postgres.connect() as connection:
        for user in ("password", "scram", "trust", "tls", "plain", "cert"):
            connection.execute(f"CREATE ROLE {user}_user LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("SET password_encryption = 'md5'")
        connection.execute(f"CREATE ROLE md5_user LOGIN PASSWORD '{PASSWORD}'")


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = Authority(), Authority("another authority")
    server = authority.issue("server", hosts=["localhost", "db.example"])
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "other.crt").write_bytes(other.certificate)
    (folder / "empty.crl").write_bytes(authority.revoke_nothing())
    (folder / "revoked.crl").write_bytes(authority.revoke(server))
    with with_tls(authority.certificate, server.certificate, server.key) as tls, EmbeddedPostgres(hba=HBA) as plain:
        prepare(tls)
        prepare(plain)
        yield Servers(
            tls=tls,
            plain=plain,
            authority=str(folder / "ca.crt"),
            other_authority=str(folder / "other.crt"),
            client_certificate=authority.issue("cert_user").write(folder, "client"),
            empty_revocations=str(folder / "empty.crl"),
            revocations=str(folder / "revoked.crl"),
        )


def with_tls(authority: bytes, certificate: bytes, key: bytes) -> EmbeddedPostgres:
    try:
        postgres = EmbeddedPostgres(hba=HBA)
        postgres.binaries  # noqa: B018 - the look-up alone tells whether there is anything to run
    except SettingsError as error:
        pytest.skip(str(error))
    postgres.start()
    postgres.put_file("ca.crt", authority)
    postgres.put_file("server.crt", certificate)
    postgres.put_file("server.key", key)
    postgres.settings |= {"ssl": "on", "ssl_ca_file": "ca.crt"}
    postgres.stop()
    return postgres


@pytest.fixture(autouse=True)
def no_files_of_the_person_who_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
