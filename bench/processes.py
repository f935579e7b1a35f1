"""Processes of the bench: what they cost (from /proc, so Linux only), and an end that is certain."""

import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
POLL_SECONDS: Final = 0.05


class BenchError(Exception):
    """The bench can't go on. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far: CPU of all its threads, user and system."""

    cpu_seconds: float
    rss_bytes: int


def find_program(name: str, folder: Path) -> Path:
    """Find a client's program beside the server's binaries in *folder* (or where their links lead), else in PATH."""
    beside = [folder / name, (folder / "postgres").resolve().parent / name]
    on_path = shutil.which(name)
    for candidate in [*beside, *([Path(on_path)] if on_path else [])]:
        if candidate.is_file():
            return candidate
    raise BenchError(
        f"there is no {name} in {folder} or in PATH: apt-get install postgresql-client postgresql-contrib, "
        "or set POOLGUARD_PG_BIN to a folder that has one"
    )


def allow_open_files(number: int) -> None:
    """Let this process, and those that it starts, have *number* files open. Raises BenchError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            raise BenchError(f"{number} open files are needed and {hard} allowed: raise the hard limit (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def last_lines(text: str, lines: int = 12) -> str:
    """The end of what a program said, indented."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


def parse_stat(text: str) -> float:
    """CPU seconds from the text of /proc/PID/stat: fields 14 (utime) and 15 (stime) of proc(5)."""
    # The name in field 2 may hold blanks and brackets; the last bracket ends it.
    fields = text[text.rindex(")") + 1 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def parse_rss(text: str) -> int:
    """Resident bytes from the text of /proc/PID/status."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchError("/proc/PID/status has no VmRSS")


def usage_of(pid: int, *, name: str, log: Path) -> Usage:
    """Read what process *pid* has used. Raises BenchError, with the end of *log*, if it has gone."""
    folder = Path("/proc") / str(pid)
    try:
        return Usage(parse_stat((folder / "stat").read_text()), parse_rss((folder / "status").read_text()))
    except (OSError, BenchError):
        # What ended and was not waited for is still listed, without memory.
        raise BenchError(f"{name} ended in the middle of the bench. Its log ends:\n{tail(log)}") from None


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], *, name: str, log: Path) -> None:
    """Wait at most 15 s for *ready*. Raises BenchError, with the end of *log*, if *process* or time ends."""
    deadline = time.monotonic() + 15
    while not ready():
        code = process.poll()
        if code is not None:
            raise BenchError(f"{name} ended with exit code {code} instead of starting. Its log ends:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{name} was not ready within 15 s. Its log ends:\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def accepts(port: int) -> bool:
    """Whether somebody listens on *port* of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; a note if there are none."""
    found = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join(f"  {line}" for line in found) or "  (nothing)"


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask *process* to stop, and kill it if it has not within 5 s."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
