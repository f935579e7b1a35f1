"""What metrics read of the guard."""

from poolguard.guard.counters import SWEEP_BOUNDS, GuardCounters


def test_everything_starts_at_zero() -> None:
    counters = GuardCounters()
    assert (counters.sweeps, counters.sweep_failures, counters.late_sweeps) == (0, 0, 0)
    assert not counters.matches
    assert counters.actions["app", "by_hand", "cancel", "done"] == 0


def test_sweeps_are_resolved_below_a_millisecond_and_above_the_interval() -> None:
    assert list(SWEEP_BOUNDS) == sorted(SWEEP_BOUNDS)
    assert SWEEP_BOUNDS[0] < 0.001
    assert SWEEP_BOUNDS[-1] > 0.1
