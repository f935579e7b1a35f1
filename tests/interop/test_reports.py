"""Each of the five reports is played, its claims hold, and docs/reports.md quotes what was really said."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.interop.reports.__main__ import LIMIT_SECONDS, REPORTS
from tests.interop.toolchains import Go, Laravel, Node, Toolchain
from tests.support.cluster import Server

ROOT: Final = Path(__file__).parents[2]
NEEDS: Final[Mapping[str, tuple[Toolchain, str]]] = {
    "deadlocks": (Node(), "reports/deadlocks.mjs"),
    "full_pool": (Node(), "reports/full_pool.mjs"),
    "duplicate_keys": (Node(), "reports/duplicate_keys.mjs"),
    "job_queue": (Laravel(), "laravel_queue.php"),
    "elections": (Go(), "elections"),
}
VARIES: Final = re.compile(r"\d+(\.\d+)? ?(ms|s)\b|\b\d[\d-]*\b")
"""What is another number each time: ages, ports, pids, ids."""


@pytest.mark.timeout(700)
@pytest.mark.parametrize("name", REPORTS)
def test_report_is_reproduced_and_poolguard_names_the_culprit(name: str, pg: Server) -> None:
    """Check 1: elections, first act. Check 7: deadlocks, three parties. Check 9: job_queue. Check 11: deadlocks, retry."""
    toolchain, program = NEEDS[name]
    toolchain.command(program)
    played = subprocess.run(
        [sys.executable, "-m", "tests.interop.reports", name],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": pg.url},
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_SECONDS,
        check=False,
    )
    assert played.returncode == 0, f"{played.stdout}\n{played.stderr}"
    said = _without_what_varies(played.stdout)
    for line in _quoted(name):
        assert _without_what_varies(line) in said, f"docs/reports.md quotes {line!r}\n{played.stdout}"


def _without_what_varies(text: str) -> str:
    return " ".join(VARIES.sub("#", text).split())


def _quoted(name: str) -> list[str]:
    """The lines of the blocks in the section of docs/reports.md that names the script."""
    page = (ROOT / "docs" / "reports.md").read_text()
    (section,) = [part for part in page.split("\n## ") if f"make reports ARGS={name}" in part]
    blocks = re.findall(r"^```\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    found = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert found, f"docs/reports.md quotes nothing of {name}"
    return found
