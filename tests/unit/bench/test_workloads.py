"""bench.workloads: the list and how to choose from it."""

import pytest

from bench.workloads import BUILTINS, ROWS, Workload, all_workloads, choose


def test_names_are_unique() -> None:
    names = [w.name for w in all_workloads()]
    assert len(set(names)) == len(names)


def test_every_protocol_is_run_at_1_8_40_and_200_clients() -> None:
    asked = {(w.protocol, w.clients) for w in all_workloads() if w.name.startswith("select-") and w.rate is None}
    assert asked == {(p, c) for p in ("simple", "extended", "prepared") for c in (1, 8, 40, 200)}


def test_whatever_has_rows_has_the_same_number_of_them() -> None:
    large = {w.name: w for w in all_workloads() if w.rows}
    assert set(large) == {"rows-100k", "copy-out", "copy-in"}
    assert {w.rows for w in large.values()} == {ROWS}


def test_only_psql_is_told_what_only_psql_knows() -> None:
    for workload in all_workloads():
        assert workload.psql is workload.script.startswith("\\copy")
        assert not (workload.psql and workload.script in BUILTINS)


@pytest.mark.parametrize(
    ("workload", "asked", "expected"),
    [
        (Workload(name="w", script="s"), 4, 4),
        (Workload(name="w", script="s", brief=True), 4, 2),
        (Workload(name="w", script="s", brief=True), 1, 1),
        (Workload(name="w", script="s", clients=200), 1, 3),
    ],
)
def test_brief_runs_take_half_and_many_clients_need_time_to_connect(
    workload: Workload, asked: int, expected: int
) -> None:
    assert workload.seconds_of(asked) == expected


def test_only_tpcb_writes() -> None:
    assert {w.name for w in all_workloads() if w.writes} == {"tpcb-simple-8", "tpcb-simple-40"}


def test_globs_choose_and_no_glob_chooses_all() -> None:
    chosen = choose(all_workloads(), ["select-simple-?", "tpcb*8"])
    assert [w.name for w in chosen] == ["select-simple-1", "select-simple-8", "tpcb-simple-8"]
    assert choose(all_workloads(), []) == all_workloads()
    assert choose(all_workloads(), ["nothing"]) == ()
