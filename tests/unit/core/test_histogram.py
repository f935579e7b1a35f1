import math

from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.histogram import TRANSACTION_BOUNDS, WAIT_BOUNDS, Histogram

values = st.lists(st.floats(0, 1000), max_size=50)


def test_bounds_are_ascending() -> None:
    assert list(WAIT_BOUNDS) == sorted(set(WAIT_BOUNDS))
    assert list(TRANSACTION_BOUNDS) == sorted(set(TRANSACTION_BOUNDS))


def test_a_value_on_a_bound_counts_below_it() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 1.0, 1.1, 5.0, 5.1):
        histogram.observe(value)
    assert histogram.cumulative() == [(1.0, 2), (5.0, 4), (math.inf, 5)]


@given(values)
def test_counts_are_those_of_a_plain_count(observed: list[float]) -> None:
    histogram = Histogram(WAIT_BOUNDS)
    for value in observed:
        histogram.observe(value)
    assert histogram.cumulative() == [
        (bound, sum(value <= bound for value in observed)) for bound in (*WAIT_BOUNDS, math.inf)
    ]
    assert math.isclose(histogram.total, math.fsum(observed), abs_tol=1e-6)
