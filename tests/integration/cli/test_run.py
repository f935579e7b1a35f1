import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main

FREE_PORTS = """
listen: {clients: {port: 0}, control: {port: 0}, metrics: {host: 127.0.0.1, port: 0}}
pools: {app: {size: 2}, jobs: {size: 2}}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """`poolguard run --embedded-postgres` and the ports that its log tells."""
    file = tmp_path / "f.yaml"
    file.write_text(FREE_PORTS)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    line = [sys.executable, "-m", "poolguard", "run", "--embedded-postgres", "--config", str(file)]
    with subprocess.Popen(line, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            told: list[str] = []
            for said in process.stderr:
                told.append(said)
                if '"clients_port"' in said:
                    yield process, json.loads(said)
                    break
            else:
                pytest.fail("it ended before it ran:\n" + "".join(told))
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate()


def test_a_file_that_changes_is_reloaded_also_on_an_embedded_postgresql(
    running: tuple[subprocess.Popen[str], dict[str, int]], tmp_path: Path
) -> None:
    process, _ = running
    (tmp_path / "f.yaml").write_text(FREE_PORTS + "policies: {app: {idle_in_transaction: {warn: 7s}}}\n")
    assert process.stderr is not None
    said = next(line for line in process.stderr if '"settings reloaded"' in line or "have problems" in line)
    assert json.loads(said)["message"] == "settings reloaded"


def test_run_on_an_embedded_postgresql_serves_says_that_it_is_healthy_and_ends_on_sigterm(
    running: tuple[subprocess.Popen[str], dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    process, ports = running
    for pool in ("app", "jobs"):
        conninfo = f"host=127.0.0.1 port={ports['clients_port']} user=postgres dbname={pool}"
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    assert main(["health", "--url", f"127.0.0.1:{ports['metrics_port']}"], {}) == Exit.OK
    assert '"ok"' in capsys.readouterr().out
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == Exit.OK
