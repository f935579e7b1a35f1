"""TLS for clients, as an operator meets it: settings, a renewed certificate, a bad one."""

import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.daemon.conftest import Run
from tests.support.certificates import END, Authority
from tests.support.daemon import Daemon
from tests.support.eventually import eventually


def secure(settings: dict[str, Any], folder: Path, authority: Authority) -> None:
    """Give *settings* a certificate of *authority*."""
    cert, key = authority.issue("poolguard", hosts=["localhost"]).write(folder, "server")
    tls = {"cert_file": cert, "key_file": key, "required": True}
    settings["listen"] = {"clients": {"host": "127.0.0.1", "port": 0, "tls": tls}}


def comes_in(daemon: Daemon, authority: Authority, folder: Path) -> bool:
    """Whether a client that trusts *authority* alone gets to its data; False if it does not believe the certificate."""
    roots = folder / "roots.crt"
    roots.write_bytes(authority.certificate)
    try:
        with daemon.connect(host="localhost", sslmode="verify-full", sslrootcert=str(roots)) as client:
            return client.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError as error:
        if "certificate verify failed" in str(error):
            return False
        raise


def test_a_renewed_certificate_and_then_a_bad_one(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    first, second = Authority("first"), Authority("second")
    secure(settings, tmp_path, first)
    daemon = run(settings)
    assert comes_in(daemon, first, tmp_path)
    assert not comes_in(daemon, second, tmp_path)
    with pytest.raises(psycopg.OperationalError, match="connections without TLS are not taken"):
        daemon.connect(sslmode="disable")
    assert daemon.metric("poolguard_certificate_expires_timestamp_seconds") == END.timestamp() > time.time()
    assert daemon.metric("poolguard_clients_refused_total", reason="authentication") == 1

    with daemon.connect(sslmode="require") as stays:
        second.issue("poolguard", hosts=["localhost"]).write(tmp_path, "server")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: comes_in(daemon, second, tmp_path))
        assert not comes_in(daemon, first, tmp_path)
        assert stays.execute("select 1").fetchone() == (1,)

    (tmp_path / "server.key").write_bytes(first.issue("other").key)
    daemon.signal(signal.SIGHUP)
    told = daemon.told("the new settings have problems; those in force stay")
    assert "listen.clients.tls" in str(told["problems"])
    assert "PRIVATE KEY" not in daemon.log_text()
    assert daemon.metric("poolguard_reloads_total", result="refused") >= 1
    assert comes_in(daemon, second, tmp_path)


def test_without_its_certificate_it_does_not_start(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    secure(settings, tmp_path, Authority())
    (tmp_path / "server.crt").unlink()
    daemon = run(settings, wait=False)
    assert daemon.exit_code() == 1
    assert "listen.clients.tls: cert_file" in str(daemon.logged("poolguard can't start"))
