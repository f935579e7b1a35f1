"""One value of one metric, read at scrape time."""

from typing import NamedTuple

from poolguard.core.histogram import Histogram
from poolguard.metrics.catalogue import Metric


class Reading(NamedTuple):
    """*labels* are the values, in the order of `metric.labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Histogram
