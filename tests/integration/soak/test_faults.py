"""The long run, for a moment: that it plays, records and judges."""

from tests.soak import faults

SEED = 3
"""Whose first fault is a short one."""


def test_a_short_run_of_contenders_under_a_fault_is_a_right_history() -> None:
    told: list[str] = []
    part = faults.run(2.0, SEED, told.append)
    assert part.broken == []
    assert part.passed, part.text()
    assert len(told) == 1
