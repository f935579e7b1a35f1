"""bench.report: ratios, the table, the JSON."""

import json

from bench.figures import Ratio, Result, Sample, combine
from bench.leases import Renewals, summarise
from bench.memory import Memory
from bench.report import Findings, as_json, as_markdown, ratios


def result(*tps: float, p50: float | None = 1.0, cpu: float | None = None) -> Result:
    p99 = None if p50 is None else 2 * p50
    seconds = None if cpu is None else cpu / 1e6
    return combine([Sample(transactions=1, tps=each, p50_ms=p50, p99_ms=p99, cpu_seconds=seconds) for each in tps])


def findings() -> Findings:
    return Findings(
        machine={"cpus": 2},
        options={"rounds": 3, "seconds": 4},
        versions={"direct": "PostgreSQL 15", "pgbouncer": "1.18"},
        results={
            "select": {
                "direct": result(20_000),
                "pgbouncer": result(10_000, cpu=20),
                "poolguard": result(9_000, p50=2, cpu=30),
            },
            "prepared": {"direct": result(30_000), "poolguard": result(9_500, cpu=25)},
            "copy": {"direct": result(17.26), "pgbouncer": result(11.9), "poolguard": result(15.7)},
            "connect": {"pgbouncer": result(4_000, p50=None), "poolguard": result(1_000, p50=None)},
        },
        rows={"copy": 1000},
        memory={"poolguard": Memory(idle_bytes=48 * 1024**2, loaded_bytes=50 * 1024**2, per_idle_client_bytes=9216)},
        leases={"idle": Renewals(number=500, failed=0, p50_ms=2.5, p99_ms=8, worst_ms=12.3)},
        balances_agree=True,
        notes=["something was missing"],
    )


def of(value: float) -> Ratio:
    return Ratio(median=value, lower=value, upper=value)


def test_ratios_are_ours_by_theirs() -> None:
    assert ratios(findings().results["select"]) == {"tps": of(0.9), "p50": of(2.0), "p99": of(2.0), "cpu": of(1.5)}


def test_ratios_are_of_the_same_round() -> None:
    slower_and_slower = {"pgbouncer": result(16, 8, 4), "poolguard": result(12, 4, 3)}
    assert ratios(slower_and_slower)["tps"] == Ratio(median=0.75, lower=0.625, upper=0.75)


def test_a_workload_that_pgbouncer_sat_out_has_no_ratios() -> None:
    assert set(ratios(findings().results["prepared"]).values()) == {None}


def test_json_survives_a_round_trip_and_holds_the_ratios() -> None:
    said = json.loads(json.dumps(as_json(findings())))
    assert said["ratios"]["select"]["tps"] == {"median": 0.9, "lower": 0.9, "upper": 0.9}
    assert said["ratios"]["prepared"]["tps"] is None
    assert [each["tps"] for each in said["results"]["select"]["poolguard"]["rounds"]] == [9000]
    assert said["leases"]["idle"]["failed"] == 0
    assert said["format"] == 2


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_has_one_row_per_workload_and_dashes_for_what_is_missing() -> None:
    lines = as_markdown(findings()).splitlines()
    rows = {cells(line)[0]: cells(line) for line in lines if line.startswith("|")}
    assert rows["connect"][4:9] == ["0.25 (0.25 to 0.25)", "-", "-", "-, -, -", "-, -, -"]
    assert rows["select"][1:7] == ["20,000", "10,000", "9,000", "0.90 (0.90 to 0.90)", "2.00", "2.00"]
    assert rows["prepared"][2:5] == ["-", "9,500", "-"]
    assert rows["poolguard"] == ["poolguard", "48.0 MiB", "50.0 MiB", "9.0 KiB"]
    assert rows["idle"] == ["idle", "500", "0", "2.5", "8", "12.3"]
    assert len({len(line) for line in lines if line.startswith(("| select", "| prepared"))}) == 1


def test_large_results_have_their_rows_and_few_a_second_their_digits() -> None:
    lines = [cells(line) for line in as_markdown(findings()).splitlines() if line.startswith("| copy ")]
    assert [line[1:4] for line in lines] == [["17.3", "11.9", "15.7"], ["17,260", "11,900", "15,700"]]
    assert as_json(findings())["rows"] == {"copy": 1000}


def test_lost_balances_can_not_be_overlooked() -> None:
    broken = findings()
    broken.balances_agree = False
    assert "TPC-B balances agree: NO." in as_markdown(broken)


def test_renewals_are_summarised_with_their_failures() -> None:
    assert summarise([1.0, 2.0, 9.0], 1) == Renewals(number=3, failed=1, p50_ms=2.0, p99_ms=9.0, worst_ms=9.0)
