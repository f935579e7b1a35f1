"""An embedded PostgreSQL lives as long as its holder, and breaks only when it is told to."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo import keeper
from poolguard.demo.binaries import Binaries, find_binaries
from poolguard.demo.identity import make_private_folder, server_identity
from poolguard.demo.keeper import living, process_table
from poolguard.demo.postgres import AuthMethod, EmbeddedPostgres, StopMode
from tests.support.eventually import eventually

pytestmark = pytest.mark.pg

HOLDER = """
import sys
from poolguard.demo.postgres import EmbeddedPostgres

with EmbeddedPostgres() as postgres:
    print(postgres.pid, postgres.folder, flush=True)
    sys.stdin.read()
"""

UNPRIVILEGED_HOLDER = """
import os, sys
from poolguard.demo import keeper
from poolguard.demo.postgres import EmbeddedPostgres

# What a plain user has: a Python and the keeper's file in places that all can reach.
sys.executable, keeper.__file__ = sys.argv[1:]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with EmbeddedPostgres() as postgres:
    folder = postgres.folder
    with postgres.connect() as connection:
        print(connection.execute("SELECT 41 + 1").fetchone()[0], folder.stat().st_uid)
assert not folder.exists()
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(settings={"max_connections": "23"}) as server:
        yield server


def ask(postgres: EmbeddedPostgres, query: str) -> object:
    with postgres.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_it_is_utf8_in_locale_c_with_the_settings_that_were_asked_for(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres, "SHOW server_encoding") == "UTF8"
    assert ask(postgres, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C"
    assert ask(postgres, "SHOW max_connections") == "23"
    assert ask(postgres, "SHOW fsync") == "off"


def test_it_listens_on_loopback_only_and_on_a_socket_in_its_private_folder(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres, "SHOW listen_addresses") == "127.0.0.1"
    assert postgres.folder.stat().st_mode & 0o777 == 0o700
    with psycopg.connect(
        host=str(postgres.socket_folder), port=postgres.port, user=postgres.user, dbname="postgres"
    ) as connection:
        assert connection.info.host == str(postgres.socket_folder)


def test_it_does_not_run_as_root(postgres: EmbeddedPostgres) -> None:
    assert postgres.data_folder.stat().st_uid != 0


def test_a_restart_keeps_port_and_data_and_takes_changed_settings(postgres: EmbeddedPostgres) -> None:
    port, pid = postgres.port, postgres.pid
    postgres.create_database("kept")
    postgres.settings["work_mem"] = "7MB"
    postgres.restart(StopMode.SMART)
    assert postgres.port == port
    assert postgres.pid != pid
    assert ask(postgres, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1
    assert ask(postgres, "SHOW work_mem") == "7MB"


def test_a_stopped_server_refuses_until_it_is_started(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    assert postgres.pid is None
    assert not postgres.running
    with pytest.raises(psycopg.OperationalError, match="refused"):
        postgres.connect()
    postgres.start()
    assert ask(postgres, "SELECT 1") == 1


def test_a_fast_stop_disconnects_and_a_start_of_what_runs_does_nothing(postgres: EmbeddedPostgres) -> None:
    with postgres.connect() as connection:
        postgres.stop(StopMode.FAST)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    postgres.start()
    pid = postgres.pid
    postgres.start()
    assert postgres.pid == pid


def test_a_kill_takes_every_backend_and_the_next_start_recovers(postgres: EmbeddedPostgres) -> None:
    family = {pid for pid, (parent, _) in process_table().items() if parent == postgres.pid}
    assert family
    postgres.kill()
    assert not family & living()
    assert not postgres.running
    postgres.start()
    assert "database system was not properly shut down" in postgres.log_tail()


def test_a_crash_is_a_kill_and_a_start(postgres: EmbeddedPostgres) -> None:
    with postgres.connect() as connection:
        postgres.crash()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert ask(postgres, "SELECT 1") == 1


def test_a_file_for_the_server_is_its_own_and_secret(postgres: EmbeddedPostgres) -> None:
    path = postgres.put_file("server.key", b"secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == postgres.data_folder.stat().st_uid


def test_a_server_that_can_not_start_says_why(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    postgres.settings["shared_buffers"] = "nonsense"
    with pytest.raises(UpstreamUnavailable, match='invalid value for parameter "shared_buffers"'):
        postgres.start()
    postgres.settings["shared_buffers"] = "32MB"
    postgres.start()


def test_a_second_server_is_another_one(postgres: EmbeddedPostgres) -> None:
    with EmbeddedPostgres() as other:
        assert (other.port, other.folder) != (postgres.port, postgres.folder)
    assert not other.folder.exists()
    assert postgres.running


def test_with_scram_the_password_is_needed_and_shown_in_the_url_only() -> None:
    with EmbeddedPostgres(auth=AuthMethod.SCRAM, hba=["host postgres trusted 127.0.0.1/32 trust"]) as postgres:
        assert ask(postgres, "SELECT 1") == 1
        assert postgres.password in postgres.url
        assert postgres.password not in repr(postgres)
        assert not (postgres.folder / "password").exists()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.url.replace(postgres.password, "wrong"))
        with postgres.connect() as connection:
            connection.execute("CREATE ROLE trusted LOGIN")
        # The lines that were asked for come first.
        psycopg.connect(host=postgres.host, port=postgres.port, user="trusted", dbname="postgres").close()


def test_an_unfinished_one_can_not_be_asked_where_it_is() -> None:
    with pytest.raises(UpstreamUnavailable, match="not started yet"):
        EmbeddedPostgres().folder  # noqa: B018 - the look-up is what is tested


def test_initdb_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    folder = make_private_folder(server_identity(), longest_socket="s")
    folder.chmod(0o755)
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text("#!/bin/sh\necho no space left on device\nexit 3\n")
        program.chmod(0o755)
    postgres = EmbeddedPostgres(binaries=Binaries(folder, "test"))
    try:
        with pytest.raises(UpstreamUnavailable, match="exit code 3") as caught, postgres:
            pass
    finally:
        shutil.rmtree(folder)
    assert "no space left on device" in str(caught.value)
    assert not postgres.folder.exists()


def test_binaries_that_the_servers_user_can_not_reach_are_brought_to_it() -> None:
    """As root in a virtual environment under /root: nobody can't enter there."""
    installation = Path(find_binaries({"PATH": ""}, system_places=[]).tool("postgres")).parent.parent
    closed = Path(tempfile.mkdtemp(prefix="closed-"))
    try:
        shutil.copytree(installation, closed / "pg", symlinks=True)
        with EmbeddedPostgres(binaries=Binaries(closed / "pg" / "bin", "test")) as postgres:
            assert ask(postgres, "SELECT 1") == 1
            if os.geteuid() == 0:
                assert postgres.folder in postgres.binaries.folder.parents
    finally:
        shutil.rmtree(closed)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_is_killed_leaves_neither_server_nor_folder(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pid_text, folder_text = holder.stdout.readline().split()
        postmaster, folder = int(pid_text), Path(os.fsdecode(folder_text))
        family = {pid for pid, (parent, _) in process_table().items() if parent == postmaster} | {postmaster}
        assert len(family) > 1
        assert folder.is_dir()
        holder.send_signal(number)
        holder.wait()
    eventually(lambda: not family & living() and not folder.exists(), within=15)


def test_a_plain_user_can_hold_one() -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0:
        return  # all the other tests of this file have just shown it
    if python is None:
        pytest.skip("needs a python3 that every user can run: apt-get install python3")
    place = Path(tempfile.mkdtemp(prefix="plain-"))
    place.chmod(0o755)
    try:
        copy = shutil.copy(keeper.__file__, place)
        result = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED_HOLDER, python, copy],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["42", "65534"]
