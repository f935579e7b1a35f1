"""COPY, which pgbench can't do: psql in its place, a C program too, so that the client isn't what is measured."""

import re
import subprocess
from pathlib import Path
from typing import Final

from bench.contenders import Contender
from bench.figures import Sample, percentile
from bench.processes import BenchError, last_lines
from bench.workloads import COPIED_FILE, COPIED_TABLE, MANY_ROWS, Workload

COPIES: Final = 5
"""In each process of psql. What it needs to start and to connect is not timed."""
TIME: Final = re.compile(r"^Time: ([0-9.]+) ms", re.MULTILINE)


def script(workload: Workload) -> str:
    r"""What one psql is told: the copies are timed (`\timing`), what comes before them is not."""
    first = f"{workload.first};\n" if workload.first else ""
    return f"{first}\\timing on\n" + f"{workload.script}\n" * COPIES


def parse_times(text: str) -> list[float]:
    r"""Milliseconds from the lines that `\timing` prints."""
    return [float(found[1]) for found in TIME.finditer(text)]


def command(binary: Path, contender: Contender) -> list[str]:
    """Build the command line; the script goes to its standard input."""
    return [
        str(binary), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
        f"--host={contender.host}", f"--port={contender.port}", f"--username={contender.user}",
        contender.database,
    ]  # fmt: skip


def run(binary: Path, workload: Workload, contender: Contender, *, seconds: int, folder: Path) -> Sample:
    """Copy until *seconds* have been spent copying. Raises BenchError if a copy failed."""
    took: list[float] = []
    before = contender.usage()
    while sum(took) < seconds * 1000:
        took += _timed(binary, script(workload), contender, folder, what=workload.name)
    after = contender.usage()
    return Sample(
        transactions=len(took),
        tps=len(took) / sum(took) * 1000,
        p50_ms=percentile(took, 0.5),
        p99_ms=percentile(took, 0.99),
        cpu_seconds=after.cpu_seconds - before.cpu_seconds if before and after else None,
    )


def initialise(binary: Path, contender: Contender, folder: Path) -> None:
    """Make the table that is copied to, and the file that is copied from, through *contender* (best: direct)."""
    create = f"CREATE UNLOGGED TABLE {COPIED_TABLE} (LIKE pgbench_accounts);\n"
    _say(binary, f"{create}\\copy ({MANY_ROWS}) TO '{COPIED_FILE}'\n", contender, folder, what="COPY's table and file")


def _timed(binary: Path, text: str, contender: Contender, folder: Path, *, what: str) -> list[float]:
    said = _say(binary, text, contender, folder, what=what)
    times = parse_times(said)
    if len(times) != COPIES:
        raise BenchError(f"{what} through {contender.name}: psql told {len(times)} times of {COPIES}:\n{said.strip()}")
    return times


def _say(binary: Path, text: str, contender: Contender, folder: Path, *, what: str) -> str:
    done = subprocess.run(
        command(binary, contender),
        input=text, capture_output=True, text=True, check=False, timeout=120, cwd=folder,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"{what} through {contender.name}: psql failed:\n{last_lines(done.stderr)}")
    return done.stdout
