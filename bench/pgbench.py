"""Running pgbench and reading what it says."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.contenders import Contender
from bench.figures import Sample, percentile
from bench.processes import BenchError, last_lines
from bench.workloads import BUILTINS, SCALE, Workload

TRANSACTIONS: Final = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
FAILED: Final = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)
TPS: Final = re.compile(
    r"^tps = ([0-9.]+) \((?:without initial connection time|including reconnection times)\)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What pgbench prints at its end. *tps* leaves out the time of connecting, but where each transaction does."""

    transactions: int
    failed: int
    tps: float


def parse_summary(text: str) -> Summary:
    """Read pgbench's closing lines (PostgreSQL 14 and later). Raises BenchError if they are not there."""
    transactions, tps = TRANSACTIONS.search(text), TPS.search(text)
    if transactions is None or tps is None:
        raise BenchError(f"can't read pgbench's summary (PostgreSQL 14 or later is needed):\n{text.strip()}")
    failed = FAILED.search(text)
    return Summary(int(transactions[1]), int(failed[1]) if failed else 0, float(tps[1]))


def parse_latencies(lines: Iterable[str]) -> list[float]:
    """Milliseconds from pgbench's log lines, whose third field is microseconds, or `failed` or `skipped`."""
    found: list[float] = []
    for line in lines:
        fields = line.split(maxsplit=3)
        if len(fields) >= 3 and fields[2].isdigit():
            found.append(int(fields[2]) / 1000)
    return found


def command(
    binary: Path, workload: Workload, contender: Contender, *, seconds: int, log_prefix: Path, file: Path = Path()
) -> list[str]:
    """Build the command line. No vacuum: it would empty pgbench_history, which checks the balances.

    *file* holds the script, where that is none of pgbench's own.
    """
    script = f"--builtin={workload.script}" if workload.script in BUILTINS else f"--file={file}"
    line = [
        str(binary), "--no-vacuum", script, f"--protocol={workload.protocol}",
        f"--client={workload.clients}", f"--jobs={min(workload.clients, 2)}", f"--time={seconds}",
        f"--host={contender.host}", f"--port={contender.port}", f"--username={contender.user}",
    ]  # fmt: skip
    if workload.reconnects:
        line.append("--connect")
    else:
        line += ["--log", f"--log-prefix={log_prefix}"]
        if workload.log_share < 1:
            line.append(f"--sampling-rate={workload.log_share}")
    if workload.rate is not None:
        line.append(f"--rate={workload.rate}")
    return [*line, contender.database]


def run(binary: Path, workload: Workload, contender: Contender, *, seconds: int, folder: Path) -> Sample:
    """Run *workload* once. Raises BenchError if any transaction failed: a fast wrong answer is no figure."""
    prefix = folder / "pgbench"
    for old in folder.glob("pgbench.*"):
        old.unlink()
    file = folder / "script.sql"
    file.write_text(f"{workload.script};\n")
    before = contender.usage()
    done = subprocess.run(
        command(binary, workload, contender, seconds=seconds, log_prefix=prefix, file=file),
        capture_output=True, text=True, check=False, timeout=seconds + 120,
    )  # fmt: skip
    after = contender.usage()
    if done.returncode != 0:
        raise BenchError(f"{workload.name} through {contender.name}: pgbench failed:\n{last_lines(done.stderr)}")
    summary = parse_summary(done.stdout)
    if summary.failed or not summary.transactions:
        raise BenchError(
            f"{workload.name} through {contender.name}: {summary.transactions} transactions done, "
            f"{summary.failed} failed:\n{last_lines(done.stderr)}"
        )
    latencies = [ms for log in sorted(folder.glob("pgbench.*")) for ms in parse_latencies(log.open())]
    if not latencies and not workload.reconnects:
        raise BenchError(f"{workload.name} through {contender.name}: no latency was logged: give it more --seconds")
    return Sample(
        transactions=summary.transactions,
        tps=summary.tps,
        p50_ms=percentile(latencies, 0.5) if latencies else None,
        p99_ms=percentile(latencies, 0.99) if latencies else None,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds if before and after else None,
    )


def initialise(binary: Path, contender: Contender) -> None:
    """Create and fill pgbench's tables through *contender* (best: direct)."""
    done = subprocess.run(
        [
            str(binary), "--initialize", "--quiet", f"--scale={SCALE}", f"--host={contender.host}",
            f"--port={contender.port}", f"--username={contender.user}", contender.database,
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"pgbench could not fill its tables:\n{last_lines(done.stderr)}")
