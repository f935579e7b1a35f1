"""bench.psql: what psql is told and what it says."""

from pathlib import Path

import pytest

from bench.contenders import Contender
from bench.processes import BenchError
from bench.psql import COPIES, command, parse_times, run, script
from bench.workloads import Workload

CONTENDER = Contender(name="x", host="127.0.0.1", port=7, user="u", database="d", version="1")
COPY_IN = Workload(name="w", script="\\copy t FROM 'f'", psql=True, first="TRUNCATE t")


def program(folder: Path, *lines: str) -> Path:
    """A program in psql's place that says *lines*."""
    (folder / "said").write_text("".join(f"{line}\n" for line in lines))
    found = folder / "psql"
    found.write_text(f"#!/bin/sh\ncat > /dev/null\nexec cat '{folder}/said'\n")
    found.chmod(0o755)
    return found


def test_times_are_milliseconds_also_of_what_took_longer_than_a_second() -> None:
    assert parse_times("Time: 57.400 ms\nCOPY 100000\nTime: 1234.567 ms (00:01.235)\n") == [57.4, 1234.567]


def test_what_comes_before_the_copies_is_not_timed() -> None:
    assert script(COPY_IN).splitlines() == ["TRUNCATE t;", "\\timing on", *["\\copy t FROM 'f'"] * COPIES]


def test_without_anything_before_them_there_are_copies_alone() -> None:
    alone = Workload(name="w", script="\\copy t TO 'f'", psql=True)
    assert script(alone).splitlines() == ["\\timing on", *["\\copy t TO 'f'"] * COPIES]


def test_psql_stops_at_the_first_error_and_reads_nobodys_settings() -> None:
    line = command(Path("/psql"), CONTENDER)
    assert {"--no-psqlrc", "--set=ON_ERROR_STOP=1", "--host=127.0.0.1", "--port=7", "--username=u"} <= set(line)
    assert line[-1] == "d"


def test_figures_are_of_the_copies_alone(tmp_path: Path) -> None:
    psql = program(tmp_path, *[f"Time: {ms}.0 ms" for ms in (100, 200, 300, 400, 1000)])
    sample = run(psql, COPY_IN, CONTENDER, seconds=2, folder=tmp_path)
    assert (sample.transactions, sample.tps) == (5, 2.5)
    assert (sample.p50_ms, sample.p99_ms, sample.cpu_seconds) == (300.0, 1000.0, None)


def test_copies_go_on_until_their_time_is_up(tmp_path: Path) -> None:
    psql = program(tmp_path, *["Time: 110.0 ms"] * COPIES)
    assert run(psql, COPY_IN, CONTENDER, seconds=1, folder=tmp_path).transactions == 2 * COPIES


def test_a_copy_without_its_time_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="w through x: psql told 1 times of 5"):
        run(program(tmp_path, "Time: 5.0 ms"), COPY_IN, CONTENDER, seconds=1, folder=tmp_path)


def test_a_copy_that_failed_shows_what_psql_said(tmp_path: Path) -> None:
    psql = program(tmp_path)
    psql.write_text("#!/bin/sh\ncat > /dev/null\necho 'relation \"t\" does not exist' >&2\nexit 3\n")
    with pytest.raises(BenchError, match=r"w through x: psql failed:\n  relation \"t\" does not exist"):
        run(psql, COPY_IN, CONTENDER, seconds=1, folder=tmp_path)
