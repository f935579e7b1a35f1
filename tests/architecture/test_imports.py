"""Who may import whom: the contracts of .importlinter, and that they would notice."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LINT: Final = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    line = [str(LINT), "--no-logo", "--no-cache", "--config", str(ROOT / ".importlinter")]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "poolguard", tmp_path / "poolguard", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("guard/stray.py", "import poolguard.relay", "poolguard.guard is not allowed to import poolguard.relay"),
        ("pool/stray.py", "import poolguard.metrics", "poolguard.pool is not allowed to import poolguard.metrics"),
        ("core/stray.py", "import time", "poolguard.core is not allowed to import time"),
        ("relay/stray.py", "import psycopg", "poolguard.relay.stray -> psycopg"),
        ("web/stray.py", "import pydantic", "poolguard.web.stray -> pydantic"),
        ("daemon/stray.py", "import poolguard.settings.load", "poolguard.daemon is not allowed to import pydantic"),
        ("stray/__init__.py", "", "stray"),
    ],
)
def test_a_breach_is_noticed(copy: Path, file: str, line: str, complaint: str) -> None:
    stray = copy / "poolguard" / file
    stray.parent.mkdir(exist_ok=True)
    stray.write_text(line + "\n")
    done = lint(copy)
    assert done.returncode == 1
    assert complaint in done.stdout
