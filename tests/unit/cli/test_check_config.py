import io
from pathlib import Path

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main

DB = {"DATABASE_URL": "postgresql://u:hunter2@db.example:5433/shop"}

SIZES = {"election": 4, "jobs": 10, "app": 20}


def test_good_settings_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"], DB) == Exit.OK
    out = capsys.readouterr().out
    first, *rest = out.splitlines()
    pools = ", ".join(f"{name} {size} (transaction, policy {name})" for name, size in SIZES.items())
    assert first.startswith("OK: defaults and environment, settings ")
    assert rest == [
        "  PostgreSQL: u@db.example:5433/shop",
        "  clients: 127.0.0.1:6432, auth trust",
        "  control: 127.0.0.1:6433, metrics: 0.0.0.0:9127",
        f"  pools: {pools}",
        "  any other database name: app; routes: 0",
        "  connections to PostgreSQL at most: 38 (34 in pools, 3 for leases, 1 to observe)",
    ]
    assert "hunter2" not in out


def test_every_problem_is_shown_and_the_exit_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pools: {app: {sise: 1}}\nlog: {level: loud}\n")
    assert main(["check-config", str(file)], DB) == Exit.PROBLEM
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.removeprefix(str(file)).partition(": ")[0] for line in err.splitlines()] == [":1:15", ":2:14"]


def test_warnings_are_shown_and_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pools: {app: {size: 500}}")
    assert main(["check-config"], {**DB, "POOLGUARD_CONFIG": str(file)}) == Exit.OK
    assert f"warning: {file}:1:8: pools: the pools may open 500 connections" in capsys.readouterr().out


def test_settings_can_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("pools: {app: {size: x}}"))
    assert main(["check-config", "-"], DB) == Exit.PROBLEM
    assert capsys.readouterr().err.startswith("standard input:1:21: pools.app.size: ")


def test_a_file_can_be_checked_where_there_is_no_postgresql(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"], {}) == Exit.OK
    assert "PostgreSQL: not known here, so run would refuse to start" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["upstream: {{url: {url}}}", "pools: {{app: {{upstream: {{url: {url}}}}}}}"])
def test_a_url_that_can_not_be_used_is_a_problem(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(where.format(url='"postgresql://u:hunter2@db/shop?sslmode=perhaps"'))
    assert main(["check-config", str(file)], DB) == Exit.PROBLEM
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: ")
    assert "upstream" in err
    assert "hunter2" not in err
