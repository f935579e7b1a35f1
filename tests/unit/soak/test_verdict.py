import json

import pytest

from tests.soak.verdict import Figure, Part, as_json, quantile


@pytest.mark.parametrize(
    ("figure", "kept"),
    [
        (Figure("f", 2.0), True),
        (Figure("f", 2.0, most=2.0), True),
        (Figure("f", 2.1, most=2.0), False),
        (Figure("f", 1.0, least=1.0), True),
        (Figure("f", 0.9, least=1.0), False),
    ],
)
def test_a_figure_keeps_its_bounds_or_does_not(figure: Figure, kept: bool) -> None:
    assert figure.kept == kept


def test_a_part_passes_when_every_figure_keeps_its_bounds_and_nothing_broke() -> None:
    assert Part("p", [Figure("f", 1.0, most=2.0)]).passed
    assert not Part("p", [Figure("f", 3.0, most=2.0)]).passed
    assert not Part("p", [Figure("f", 1.0, most=2.0)], broken=["I2: two believed"]).passed


def test_a_part_tells_what_failed() -> None:
    part = Part("p", [Figure("p99", 30.0, "ms", most=25.0), Figure("number", 1234.0)], broken=["I2: two believed"])
    assert part.text().splitlines() == [
        "p: FAILED",
        "FAIL  p99: 30 ms (at most 25)",
        "      number: 1,234",
        "FAIL  I2: two believed",
    ]


def test_notes_are_told_and_fail_nothing() -> None:
    part = Part("p", notes=["the machine is busy"])
    assert part.passed
    assert part.text() == "p: passed\nnote  the machine is busy"


def test_what_broke_too_often_is_cut_short() -> None:
    assert Part("p", broken=["x"] * 25).text().endswith("and 5 more")


def test_programs_read_json() -> None:
    read = json.loads(as_json([Part("p", [Figure("f", 1.0, "s", most=2.0)])], seed=7))
    assert (read["passed"], read["seed"], read["parts"]["p"]["figures"][0]["kept"]) == (True, 7, True)


def test_quantiles_are_of_what_was_measured() -> None:
    assert quantile(range(100), 0.99) == 99
    assert quantile([5.0], 0.5) == 5.0
    assert quantile([], 0.5) == 0.0
