"""bench.processes: what /proc says, and starts that fail."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import (
    TICKS_PER_SECOND,
    BenchError,
    allow_open_files,
    end,
    find_program,
    last_lines,
    parse_rss,
    parse_stat,
    usage_of,
    wait_until,
)

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def test_a_program_is_found_where_a_link_to_the_server_leads(tmp_path: Path) -> None:
    real, linked = tmp_path / "real", tmp_path / "linked"
    for folder in (real, linked):
        folder.mkdir()
    (real / "postgres").touch()
    (real / "pgbench").touch()
    (linked / "postgres").symlink_to(real / "postgres")
    assert find_program("pgbench", linked) == real / "pgbench"


def test_a_program_that_is_nowhere_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match=r"no psql in(.|\n)*postgresql-contrib"):
        find_program("psql", tmp_path)


@pytest.mark.parametrize(
    ("limits", "expected"), [((1024, 8192), (4000, 8192)), ((1024, -1), (4000, -1)), ((8192, 8192), None)]
)
def test_open_files_are_allowed_up_to_the_number_and_never_fewer(
    limits: tuple[int, int], expected: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, both: told.append(both))
    allow_open_files(4000)
    assert told == ([expected] if expected else [])


def test_too_few_open_files_for_the_bench_say_what_to_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 2048))
    with pytest.raises(BenchError, match="ulimit -Hn"):
        allow_open_files(4000)


def test_of_what_a_program_said_the_end_is_shown() -> None:
    assert last_lines("one\ntwo\nthree\n", lines=2) == "  two\n  three"


def test_cpu_is_user_and_system_time_whatever_the_name_holds() -> None:
    after_name = "S 1 2 3 0 -1 4194304 5 6 7 8 300 200 9 9 20 0 1 0 100"
    assert parse_stat(f"42 (a) b (c)) {after_name}") == 500 / TICKS_PER_SECOND


def test_rss_is_in_bytes() -> None:
    assert parse_rss("Name:\tx\nVmRSS:\t    1024 kB\nThreads:\t1\n") == 1024 * 1024


def test_a_process_without_memory_is_an_error() -> None:
    with pytest.raises(BenchError, match="VmRSS"):
        parse_rss("Name:\tx\nState:\tZ (zombie)\n")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has: run it there")
def test_usage_of_a_living_process_is_read() -> None:
    assert usage_of(os.getpid(), name="me", log=Path()).rss_bytes > 1024**2


def test_a_pooler_that_ended_is_named_with_its_log_and_not_measured(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("out of luck\n")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
    for _ in range(2):
        with pytest.raises(BenchError, match=r"poolguard ended(.|\n)*out of luck"):
            usage_of(gone.pid, name="poolguard", log=log)
        gone.wait()


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nno such option: poool\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(BenchError, match=r"PgBouncer ended with exit code 3(.|\n)*no such option: poool"):
        wait_until(lambda: False, process, name="PgBouncer", log=log)


def test_end_is_certain_and_may_come_twice() -> None:
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    end(process)
    end(process)
    assert process.poll() is not None
    assert process.stdin is not None
    process.stdin.close()
