"""What initdb and postgres are told."""

import signal
from pathlib import Path

import pytest

from poolguard.demo.binaries import Binaries
from poolguard.demo.commands import AuthMethod, StopMode, environment, initdb_command, server_command

DATA = Path("/private/data")


@pytest.fixture
def binaries(tmp_path: Path) -> Binaries:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("initdb", "postgres"):
        (folder / name).touch()
    return Binaries(folder, "test")


def test_a_password_reaches_initdb_by_a_file_only(binaries: Binaries) -> None:
    command = initdb_command(binaries, DATA, AuthMethod.SCRAM, Path("/private/password"))
    assert "--auth=scram-sha-256" in command
    assert "--pwfile=/private/password" in command


def test_without_a_password_there_is_no_password_file(binaries: Binaries) -> None:
    command = initdb_command(binaries, DATA, AuthMethod.TRUST, None)
    assert command[:3] == [str(binaries.folder / "initdb"), "-D", "/private/data"]
    assert not [word for word in command if word.startswith("--pwfile")]


def test_settings_can_not_move_the_server_to_another_address(binaries: Binaries) -> None:
    command = server_command(
        binaries,
        DATA,
        {"listen_addresses": "*", "max_connections": "7"},
        host="127.0.0.1",
        port=15432,
        sockets=Path("/private/s"),
    )
    assert "max_connections=7" in command
    assert "listen_addresses=127.0.0.1" in command
    assert "port=15432" in command
    assert "unix_socket_directories=/private/s" in command
    assert "listen_addresses=*" not in command


def test_the_callers_own_pg_variables_do_not_reach_the_server(binaries: Binaries) -> None:
    assert environment(binaries, {"PATH": "/bin", "PGDATA": "/precious", "LC_ALL": "tr_TR.UTF-8"}) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def test_a_server_may_speak_another_language(binaries: Binaries) -> None:
    assert environment(binaries, {"LANGUAGE": "de"})["LANGUAGE"] == "de"


def test_icu_data_beside_the_binaries_is_named(binaries: Binaries) -> None:
    icu = binaries.folder.parent / "share" / "icu"
    icu.mkdir(parents=True)
    assert environment(binaries, {})["ICU_DATA"] == str(icu)


def test_each_stop_mode_is_its_own_signal() -> None:
    assert {mode: mode.signal for mode in StopMode} == {
        StopMode.SMART: signal.SIGTERM,
        StopMode.FAST: signal.SIGINT,
        StopMode.IMMEDIATE: signal.SIGQUIT,
    }
