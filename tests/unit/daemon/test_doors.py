from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError
from poolguard.daemon.doors import make_door
from poolguard.settings.model import Auth, AuthMethod, ClientsListener, ClientsTls, Limits, Listen, Settings, User
from poolguard.wire.scram import ScramSecret
from tests.support.certificates import Authority
from tests.support.daemon import written_secret

SEED = b"s" * 32


def settings_with(**passwords: str) -> Settings:
    users = {name: User(password=password) for name, password in passwords.items()}
    return Settings(auth=Auth(method=AuthMethod.SCRAM, users=users), limits=Limits(login_timeout=3.0))


def test_a_plain_password_becomes_a_secret_with_a_salt_of_its_own() -> None:
    door = make_door(settings_with(app="pencil", jobs="pencil"), seed=SEED)
    app, jobs = door.secrets["app"], door.secrets["jobs"]
    assert app == ScramSecret.from_password("pencil", salt=app.salt)
    assert app.salt != jobs.salt
    assert app.stored_key != jobs.stored_key


def test_postgresqls_own_secret_is_taken_as_it_is() -> None:
    made = ScramSecret.from_password("pencil", salt=b"0123456789abcdef")
    door = make_door(settings_with(app=written_secret(made)), seed=SEED)
    assert door.secrets["app"] == made


@pytest.mark.parametrize("broken", ["SCRAM-SHA-256$4096:c2FsdA==$hidden", "SCRAM-SHA-256$hidden"])
def test_a_broken_secret_names_the_user_and_never_the_secret(broken: str) -> None:
    with pytest.raises(SettingsError, match=r"^auth\.users\.jobs: not a SCRAM secret") as told:
        make_door(settings_with(app="pencil", jobs=broken), seed=SEED)
    assert "hidden" not in repr(told.value)
    assert told.value.__cause__ is None


def test_the_rest_is_as_the_settings_say() -> None:
    door = make_door(settings_with(app="pencil"), seed=SEED)
    assert (door.method, door.seed, door.login_timeout) == (AuthMethod.SCRAM, SEED, 3.0)
    assert make_door(Settings(), seed=SEED).secrets == {}


def test_a_door_shows_no_secret() -> None:
    door = make_door(settings_with(app="pencil"), seed=b"the seed")
    for hidden in ("pencil", "seed'", repr(door.secrets["app"].salt)):
        assert hidden not in repr(door)


def test_the_certificate_is_read_with_the_rest_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    cert, key = Authority().issue("poolguard").write(tmp_path, "server")

    def settings(cert_file: str) -> Settings:
        return Settings(listen=Listen(clients=ClientsListener(tls=ClientsTls(cert_file=cert_file, key_file=key))))

    door = make_door(settings(cert), seed=SEED)
    assert door.tls is not None
    assert make_door(Settings(), seed=SEED).tls is None
    with pytest.raises(SettingsError, match=r"listen\.clients\.tls: cert_file .*none\.crt.*No such file"):
        make_door(settings(str(tmp_path / "none.crt")), seed=SEED)
