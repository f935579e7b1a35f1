import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from poolguard.settings.loaded import Loaded

Calls = list[tuple[Loaded, str | None, bool]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the daemon was started with; a stand-in for the daemon, which ends at once."""
    calls: Calls = []

    def run(loaded: Loaded, environ: Mapping[str, str], *, observe: bool) -> int:
        calls.append((loaded, environ.get("DATABASE_URL"), observe))
        return 0

    daemon = ModuleType("poolguard.daemon.main")
    daemon.run = run  # type: ignore[attr-defined]  # the stand-in
    monkeypatch.setitem(sys.modules, "poolguard.daemon.main", daemon)
    return calls


class FakePostgres:
    """In the place of EmbeddedPostgres."""

    url = "postgresql://postgres@127.0.0.1:5/postgres"
    log: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        type(self).log = ("started",)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        type(self).log += ("gone",)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> type[FakePostgres]:
    postgres = ModuleType("poolguard.demo.postgres")
    postgres.EmbeddedPostgres = FakePostgres  # type: ignore[attr-defined]  # the stand-in
    monkeypatch.setitem(sys.modules, "poolguard.demo.postgres", postgres)
    FakePostgres.log = ()
    return FakePostgres


def test_the_daemon_gets_the_settings(calls: Calls, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pools: {app: {size: 3}}")
    assert main(["run", "--config", str(file)], {"DATABASE_URL": "postgresql://db/x"}) == Exit.OK
    ((loaded, url, observe),) = calls
    assert (loaded.settings.pools["app"].size, loaded.settings.upstream.url, observe) == (3, "postgresql://db/x", False)
    assert url == "postgresql://db/x"


def test_observe_is_passed_on(calls: Calls) -> None:
    main(["run", "--observe"], {})
    assert [observe for *_, observe in calls] == [True]


def test_settings_with_a_problem_start_nothing(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pols: {}")
    assert main(["run"], {"POOLGUARD_CONFIG": str(file)}) == Exit.PROBLEM
    assert calls == []
    assert "did you mean pools?" in capsys.readouterr().err


def test_an_embedded_postgresql_lives_as_long_as_the_daemon(
    calls: Calls, embedded: type[FakePostgres], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--embedded-postgres"], {"DATABASE_URL": "postgresql://other"}) == Exit.OK
    assert [(loaded.settings.upstream.url, url) for loaded, url, _ in calls] == [(embedded.url, embedded.url)]
    assert embedded.log == ("started", "gone")
    assert "psql -h 127.0.0.1 -p 6432 -U postgres -d app" in capsys.readouterr().err


def test_the_invitation_names_no_port_that_is_not_known_yet(
    calls: Calls, embedded: type[FakePostgres], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("listen: {clients: {port: 0}, control: {port: 0}}")
    assert main(["run", "--embedded-postgres", "--config", str(file)], {}) == Exit.OK
    invitation = capsys.readouterr().err
    assert "-p 0" not in invitation
    assert "'poolguard runs'" in invitation


def test_an_embedded_postgresql_is_not_started_for_settings_with_a_problem(
    calls: Calls, embedded: type[FakePostgres], tmp_path: Path
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pols: {}")
    assert main(["run", "--embedded-postgres", "--config", str(file)], {}) == Exit.PROBLEM
    assert (calls, embedded.log) == ([], ())


def test_a_file_that_names_another_postgresql_is_refused(
    calls: Calls, embedded: type[FakePostgres], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("upstream: {url: postgresql://prod}")
    assert main(["run", "--embedded-postgres", "--config", str(file)], {}) == Exit.PROBLEM
    assert (calls, embedded.log) == ([], ())
    assert "names another PostgreSQL than the embedded one" in capsys.readouterr().err
