"""The catalogue keeps Prometheus' naming rules."""

import re

from poolguard.metrics.catalogue import CATALOGUE, Kind


def test_every_name_is_there_once_and_is_legal() -> None:
    names = [metric.name for metric in CATALOGUE]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_no_two_names_differ_only_in_their_ending() -> None:
    """OpenMetrics 1.0.0 counts `x` and `x_total` as one name."""
    families = [metric.name.removesuffix("_total").removesuffix("_info") for metric in CATALOGUE]

    assert len(families) == len(set(families))


def test_a_name_ends_in_total_exactly_if_it_is_a_counter_and_in_info_if_it_is_a_constant_fact() -> None:
    for metric in CATALOGUE:
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert metric.name.endswith("_info") == (metric.kind is Kind.INFO), metric.name


def test_names_are_our_own_but_for_the_conventional_ones() -> None:
    foreign = {metric.name for metric in CATALOGUE if not metric.name.startswith("poolguard_")}

    assert all(re.match(r"(process|python_gc|leader_election)_", name) for name in foreign), foreign


def test_units_are_base_units() -> None:
    for metric in CATALOGUE:
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mib|percent)(_|$)", metric.name), metric.name
        assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds"), metric.name


def test_no_label_could_take_a_value_of_a_client() -> None:
    labels = {label for metric in CATALOGUE for label in metric.labels}

    assert not labels & {"pid", "user", "database", "query", "application_name", "client", "address", "port"}


def test_every_metric_has_a_sentence_of_help() -> None:
    for metric in CATALOGUE:
        assert re.search(r"[.;0-9]$", metric.help), metric.name
        assert "\n" not in metric.help
