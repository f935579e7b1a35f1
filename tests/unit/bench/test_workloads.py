"""bench.workloads: the list and how to choose from it."""

from bench.workloads import all_workloads, choose


def test_names_are_unique() -> None:
    names = [w.name for w in all_workloads()]
    assert len(set(names)) == len(names)


def test_every_protocol_is_run_at_1_8_and_40_clients() -> None:
    asked = {(w.protocol, w.clients) for w in all_workloads() if w.script == "select-only" and w.rate is None}
    assert asked == {(p, c) for p in ("simple", "extended", "prepared") for c in (1, 8, 40)}


def test_only_tpcb_writes() -> None:
    assert {w.name for w in all_workloads() if w.writes} == {"tpcb-simple-8", "tpcb-simple-40"}


def test_globs_choose_and_no_glob_chooses_all() -> None:
    chosen = choose(all_workloads(), ["select-simple-?", "tpcb*8"])
    assert [w.name for w in chosen] == ["select-simple-1", "select-simple-8", "tpcb-simple-8"]
    assert choose(all_workloads(), []) == all_workloads()
    assert choose(all_workloads(), ["nothing"]) == ()
