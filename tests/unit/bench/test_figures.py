"""bench.figures: percentiles, medians, ratios."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Ratio, Sample, combine, percentile, ratio

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


def sample(*, tps: float = 1.0, transactions: int = 1, cpu: float | None = None, p50: float | None = 1.0) -> Sample:
    p99 = None if p50 is None else 2 * p50
    return Sample(transactions=transactions, tps=tps, p50_ms=p50, p99_ms=p99, cpu_seconds=cpu)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)])
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(v) for v in range(100, 0, -1)], share) == expected


@given(VALUES, st.floats(0, 1))
def test_at_least_the_share_lies_at_or_below_the_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    # One part in a billion: a share times a length is rounded.
    assert sum(v <= found for v in values) >= share * len(values) * (1 - 1e-9)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_percentile_refuses_what_has_no_answer(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"no values|not within"):
        percentile(values, share)


def test_each_figure_is_the_median_by_itself() -> None:
    combined = combine([sample(tps=10, p50=3), sample(tps=30, p50=1), sample(tps=20, p50=2)])
    assert (combined.tps, combined.p50_ms, combined.p99_ms) == (20, 2, 4)
    assert [each.tps for each in combined.rounds] == [10, 30, 20]


def test_cpu_is_microseconds_per_transaction() -> None:
    assert combine([sample(transactions=2000, cpu=0.05)]).cpu_us_per_transaction == pytest.approx(25)


def test_without_a_pooler_there_is_no_cpu_figure() -> None:
    assert combine([sample(cpu=None), sample(cpu=None)]).cpu_us_per_transaction is None


def test_a_latency_that_was_not_measured_is_none_and_not_nought() -> None:
    combined = combine([sample(p50=None), sample(p50=None)])
    assert (combined.p50_ms, combined.p99_ms) == (None, None)


def test_combining_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        combine([])


@pytest.mark.parametrize(("ours", "theirs"), [([None], [1.0]), ([1.0], [None]), ([1.0], [0.0]), ([], [])])
def test_ratio_is_missing_where_a_side_is(ours: list[float | None], theirs: list[float | None]) -> None:
    assert ratio(ours, theirs) is None


def test_ratio_is_the_median_of_what_each_round_gives() -> None:
    assert ratio([8.0], [10.0]) == Ratio(median=0.8, lower=0.8, upper=0.8)
    ours, theirs = [4.0, 96.0, 6.0, None, 8.0], [8.0, 128.0, 8.0, 1.0, 16.0]
    assert ratio(ours, theirs) == Ratio(median=0.625, lower=0.5, upper=0.75)


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6)), min_size=1, max_size=30))
def test_quartiles_hold_the_median_and_lie_within_the_rounds(rounds: list[tuple[float, float]]) -> None:
    found = ratio([ours for ours, _ in rounds], [theirs for _, theirs in rounds])
    assert found is not None
    each = [ours / theirs for ours, theirs in rounds]
    slack = 1 + 1e-9
    assert min(each) / slack <= found.lower <= found.median * slack
    assert found.median <= found.upper * slack <= max(each) * slack**2
