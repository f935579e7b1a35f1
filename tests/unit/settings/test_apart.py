import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from poolguard.core.errors import SettingsError
from poolguard.settings import apart
from poolguard.settings.apart import load_apart
from poolguard.settings.load import load
from poolguard.settings.problems import SettingsProblems

ENVIRON: Final = {"DATABASE_URL": "postgresql://app@db.example/shop", "SIZE": "7"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "poolguard.yaml"


def python_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a script in the place of the Python that would read."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_settings_are_those_that_load_gives_here(file: Path) -> None:
    """Routes, rules and users among them: whatever the model holds comes across whole."""
    file.write_text(
        "pools: {app: {size: '${SIZE}', lanes: [{name: one, match: {statement: job}}]}}\n"
        "auth: {users: {shop: {password: secret}}}\n"
        "routes: [{match: {statement: river}, pool: app}]\n"
        "policies: {app: {rules: [{name: slow, when: {transaction_age: '>=10s'}, then: {warn: 1s}}]}}\n"
    )
    loaded = load_apart(file, ENVIRON)
    assert loaded == load(file, ENVIRON)
    assert loaded.settings.pools["app"].size == 7


def test_without_a_file_the_environment_that_is_given_counts() -> None:
    assert load_apart(None, ENVIRON) == load(None, ENVIRON)


def test_every_problem_is_told_with_its_place(file: Path) -> None:
    file.write_text("pools: {app: {size: 0, sise: 3}}\n")
    with pytest.raises(SettingsProblems) as here:
        load(file, ENVIRON)
    with pytest.raises(SettingsProblems) as apart_from_here:
        load_apart(file, ENVIRON)
    assert str(apart_from_here.value) == str(here.value)
    assert apart_from_here.value.problems == here.value.problems


def test_a_file_that_is_not_there_is_a_problem_like_others(file: Path) -> None:
    with pytest.raises(SettingsProblems, match="can't read the settings file: No such file"):
        load_apart(file, {})


def test_nothing_is_imported_from_the_folder_in_which_poolguard_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('taken from here')")
    monkeypatch.chdir(tmp_path)
    assert load_apart(None, ENVIRON).settings.upstream.url == ENVIRON["DATABASE_URL"]


def test_a_process_that_is_killed_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_that(tmp_path, monkeypatch, "kill -9 $$")
    with pytest.raises(SettingsError, match=r"was killed \(signal 9\): is there too little memory\?"):
        load_apart(None, {})


def test_a_process_that_can_not_be_started_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="can't start the process that reads the settings: No such file"):
        load_apart(None, {})


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "READ_SECONDS", 0.05)
    python_that(tmp_path, monkeypatch, "exec sleep 600")
    with pytest.raises(SettingsError, match=r"took over 0\.05s"):
        load_apart(None, {})


def test_a_bug_comes_with_its_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_that(tmp_path, monkeypatch, "echo 'KeyError: oops' >&2; exit 1")
    with pytest.raises(RuntimeError, match="KeyError: oops"):
        load_apart(None, {})


def test_what_reads_settings_is_nowhere_in_the_daemon() -> None:
    """The model, its kinds and its marks need none of it either."""
    program = (
        "import sys, poolguard.daemon.main; print(sorted({'pydantic', 'pydantic_core', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
