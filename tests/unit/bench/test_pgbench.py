"""bench.pgbench: what pgbench is told and what it says."""

from pathlib import Path

import pytest

from bench.contenders import Contender
from bench.pgbench import Summary, command, parse_latencies, parse_summary
from bench.processes import BenchError
from bench.workloads import Workload

SAID = """\
pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: <builtin: TPC-B (sort of)>
scaling factor: 10
query mode: simple
number of clients: 8
number of threads: 2
maximum number of tries: 1
duration: 1 s
number of transactions actually processed: 5470
number of failed transactions: 3 (0.055%)
latency average = 1.463 ms
initial connection time = 11.823 ms
tps = 5470.123456 (without initial connection time)
"""
CONTENDER = Contender(name="x", host="127.0.0.1", port=7, user="u", database="d", version="1")
WORKLOAD = Workload(name="w", script="select-only", protocol="extended", clients=8)


def test_summary_is_read_from_the_closing_lines() -> None:
    assert parse_summary(SAID) == Summary(transactions=5470, failed=3, tps=5470.123456)


def test_summary_of_a_rate_limited_run_has_the_same_lines() -> None:
    text = SAID.replace("latency average", "rate limit schedule lag: avg 0.1 (max 2.1) ms\nlatency average")
    assert parse_summary(text).transactions == 5470


def test_versions_that_count_no_failures_have_none() -> None:
    text = "\n".join(line for line in SAID.splitlines() if "failed" not in line)
    assert parse_summary(text).failed == 0


@pytest.mark.parametrize("text", ["", "connection refused", SAID.replace("without initial", "including")])
def test_anything_else_is_not_taken_for_a_summary(text: str) -> None:
    with pytest.raises(BenchError, match="PostgreSQL 14 or later"):
        parse_summary(text)


def test_latencies_are_milliseconds_and_failed_ones_have_none() -> None:
    lines = [
        "0 1 1463 0 1700000000 12\n",
        "1 2 failed 0 1700000000 13\n",
        "1 3 20 0 1 1 99\n",
        "0 4 skipped 0 1 1\n",
        "\n",
    ]
    assert parse_latencies(lines) == [1.463, 0.02]


def test_command_never_empties_the_history() -> None:
    line = command(Path("/pgbench"), WORKLOAD, CONTENDER, seconds=4, log_prefix=Path("/tmp/p"))
    assert "--no-vacuum" in line
    assert {"--protocol=extended", "--client=8", "--jobs=2", "--time=4", "--port=7"} <= set(line)
    assert line[-1] == "d"


def test_one_client_needs_one_thread() -> None:
    alone = Workload(name="w", script="select-only", protocol="simple", clients=1)
    assert "--jobs=1" in command(Path("/pgbench"), alone, CONTENDER, seconds=1, log_prefix=Path("/tmp/p"))


def test_sampling_and_rate_stand_only_where_asked() -> None:
    plain = command(Path("/pgbench"), WORKLOAD, CONTENDER, seconds=1, log_prefix=Path("/tmp/p"))
    assert not [part for part in plain if part.startswith(("--rate", "--sampling"))]
    paced = Workload(name="w", script="select-only", protocol="simple", clients=8, rate=5000, log_share=0.1)
    line = command(Path("/pgbench"), paced, CONTENDER, seconds=1, log_prefix=Path("/tmp/p"))
    assert {"--rate=5000", "--sampling-rate=0.1"} <= set(line)


def test_a_statement_of_our_own_goes_by_a_file() -> None:
    rows = Workload(name="w", script="SELECT 1")
    line = command(Path("/pgbench"), rows, CONTENDER, seconds=1, log_prefix=Path("/tmp/p"), file=Path("/tmp/s"))
    assert "--file=/tmp/s" in line
    assert not [part for part in line if part.startswith("--builtin")]


def test_new_connections_are_counted_and_have_no_latency() -> None:
    connect = Workload(name="w", script="select-only", clients=8, reconnects=True)
    line = command(Path("/pgbench"), connect, CONTENDER, seconds=1, log_prefix=Path("/tmp/p"))
    assert "--connect" in line
    assert "--log" not in line
    text = SAID.replace("initial connection time = 11.823", "average connection time = 0.823")
    text = text.replace("without initial connection time", "including reconnection times")
    assert parse_summary(text).tps == 5470.123456
