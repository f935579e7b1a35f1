"""Silences inside of transactions, seen by the sweeps."""

from dataclasses import replace

from poolguard.guard.gaps import IdleGaps
from tests.unit.guard.builders import active, idle


def test_a_silence_counts_once_when_it_is_over_as_long_as_it_was_last_seen() -> None:
    gaps = IdleGaps()
    gaps.see([idle(1.0)], 100.0)
    gaps.see([idle(3.5)], 102.5)
    assert gaps.seconds == {}
    gaps.see([active(0.1)], 102.6)
    gaps.see([active(0.2)], 102.7)
    assert (gaps.seconds["app"].count, gaps.seconds["app"].total) == (1, 3.5)


def test_one_silence_after_another_is_two() -> None:
    gaps = IdleGaps()
    gaps.see([idle(1.0)], 100.0)
    gaps.see([idle(0.05)], 100.1)
    gaps.see([], 100.2)
    assert gaps.seconds["app"].count == 2


def test_the_end_of_a_transaction_ends_its_silence_and_pools_are_counted_apart() -> None:
    gaps = IdleGaps()
    gaps.see([idle(1.0), replace(idle(2.0, 2), pool="jobs")], 100.0)
    gaps.see([idle(1.1)], 100.1)
    assert list(gaps.seconds) == ["jobs"]
    gaps.see([], 100.2)
    assert gaps.seconds["app"].total == 1.1
