"""The rules that tests/conftest.py holds all tests to, seen from a run of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Server

ROOT = Path(__file__).parents[3]

SKIPPED = """
import pytest

def test_skipped():
    pytest.skip("no reason in particular")

@pytest.mark.skip(reason="marked")
def test_marked():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known_to_fail():
    assert False
"""
SKIPPED_WHOLE = "import pytest\npytest.skip('the whole file', allow_module_level=True)\n"
BOTH_LOOPS = """
import asyncio

async def test_both(loop_kind):
    assert loop_kind in type(asyncio.get_running_loop()).__module__

async def test_one():
    assert "uvloop" not in type(asyncio.get_running_loop()).__module__
"""
CONTROL = """
def test_control(pg_control):
    raise AssertionError("must not get here")

def test_any(database):
    with database.connect() as connection:
        print("said", connection.execute("SELECT 6 * 7").fetchone())
"""
FAILING = """
def test_failing(pg):
    with pg.connect() as connection:
        connection.execute("DO $$ BEGIN RAISE WARNING 'from the server'; END $$")
    assert False
"""
RESTARTING = """
def test_changes(pg_control):
    pg_control.settings["work_mem"] = "9MB"
    pg_control.restart()
    pg_control.stop()

def test_finds_it_as_it_was(pg):
    with pg.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() != ("9MB",)
"""


def run(folder: Path, text: str, *options: str, **environ: str) -> str:
    """Run one test file under this project's settings and conftest; return what pytest says."""
    file = folder / "test_it.py"
    file.write_text(text)
    inherited = {k: v for k, v in os.environ.items() if k not in {"POOLGUARD_NO_SKIP", "PYTEST_ADDOPTS"}}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-v"]
    result = subprocess.run(
        [*command, "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *options, str(file)],
        cwd=ROOT,
        env=inherited | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def counts(output: str) -> dict[str, int]:
    """The numbers in pytest's last line."""
    last = output.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}


def test_a_skip_is_a_skip_at_home(tmp_path: Path) -> None:
    assert counts(run(tmp_path, SKIPPED)) == {"skipped": 2, "xfailed": 1}


def test_where_nothing_may_be_skipped_a_skip_fails_and_says_why(tmp_path: Path) -> None:
    output = run(tmp_path, SKIPPED, POOLGUARD_NO_SKIP="1")
    assert counts(output) == {"failed": 1, "error": 1, "xfailed": 1}
    assert "POOLGUARD_NO_SKIP=1, and this was skipped: Skipped: no reason in particular" in output


def test_where_nothing_may_be_skipped_a_file_can_not_skip_itself(tmp_path: Path) -> None:
    assert counts(run(tmp_path, SKIPPED_WHOLE))["skipped"] == 1
    output = run(tmp_path, SKIPPED_WHOLE, POOLGUARD_NO_SKIP="1")
    assert counts(output) == {"error": 1}
    assert "the whole file" in output


def test_a_test_that_asks_for_it_runs_on_both_loops_and_others_on_one(tmp_path: Path) -> None:
    assert counts(run(tmp_path, BOTH_LOOPS)) == {"passed": 3}


def test_on_somebody_elses_server_what_needs_control_is_skipped(tmp_path: Path, pg: Server) -> None:
    output = run(tmp_path, CONTROL, "--pg-dsn", pg.dsn, "-s")
    assert counts(output) == {"passed": 1, "skipped": 1}
    assert "said (42,)" in output
    assert "names a server that is not ours" in output


def test_a_failure_shows_what_the_server_said(tmp_path: Path) -> None:
    output = run(tmp_path, FAILING)
    assert "PostgreSQL's log" in output
    assert "from the server" in output


def test_a_test_that_changes_the_shared_server_leaves_it_as_it_was(tmp_path: Path) -> None:
    assert counts(run(tmp_path, RESTARTING)) == {"passed": 2}


@pytest.mark.parametrize(("environ", "derandomize"), [({"CI": "true"}, "True"), ({"CI": ""}, "False")])
def test_ci_repeats_the_same_examples(tmp_path: Path, environ: dict[str, str], derandomize: str) -> None:
    text = "import hypothesis\ndef test_it():\n    print('derandomize', hypothesis.settings().derandomize)\n"
    assert f"derandomize {derandomize}" in run(tmp_path, text, "-s", **environ)
