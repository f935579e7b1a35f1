"""The Grafana dashboard asks only for metrics, labels and label values that poolguard has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from poolguard.ledger.entries import Phase
from poolguard.ledger.hands import Outcome
from poolguard.metrics.catalogue import CATALOGUE, Kind, Metric
from poolguard.metrics.guard_readings import RULES, STEPS
from poolguard.metrics.pool_readings import phase_label
from poolguard.settings.policies import PolicyMode

FILE: Final = Path(__file__).parents[2] / "helm" / "poolguard" / "dashboards" / "poolguard.json"
DASHBOARD: Final[dict[str, Any]] = json.loads(FILE.read_text())

METRICS: Final = {metric.name: metric for metric in CATALOGUE}
OURS: Final = re.compile(r"\b(?:poolguard|process|python|leader_election)_\w+")
SELECTOR: Final = re.compile(r"\b((?:poolguard|process|python|leader_election)_\w+)\{([^}]*)\}")
MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPED: Final = re.compile(r"\b(?:by|on) \(([^)]*)\)")
SCRAPED: Final = frozenset({"instance", "job", "namespace", "pod"})
"""Labels that Prometheus adds."""
VALUES: Final = {
    "phase": {phase_label(phase) for phase in Phase},
    "state": {"idle", "held", "opening"},
    "rule": set(RULES),
    "action": set(STEPS),
    "outcome": {outcome.value for outcome in Outcome},
    "mode": {mode.value for mode in PolicyMode},
}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend of everything that is asked for."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for note in DASHBOARD["annotations"]["list"]:
        yield note["name"], note["expr"], note["titleFormat"] + note["textFormat"]


def metric_of(sample: str) -> Metric | None:
    """The catalogue's entry of a sample's name; None if there is none."""
    if sample in METRICS:
        # A histogram has no sample of its own name.
        return METRICS[sample] if METRICS[sample].kind is not Kind.HISTOGRAM else None
    family = METRICS.get(re.sub(r"_(bucket|sum|count)$", "", sample))
    return family if family is not None and family.kind is Kind.HISTOGRAM else None


QUERIES: Final = list(queries())
variables = [item["definition"] for item in DASHBOARD["templating"]["list"] if item["type"] == "query"]


def metrics_in(expression: str) -> list[Metric]:
    found = [metric_of(name) for name in OURS.findall(expression)]
    assert all(found), f"not in the catalogue: {OURS.findall(expression)} in {expression}"
    return [metric for metric in found if metric is not None]


@pytest.mark.parametrize("expression", [*(q[1] for q in QUERIES), *variables])
def test_every_metric_is_in_the_catalogue(expression: str) -> None:
    assert metrics_in(expression), f"no metric at all in {expression}"


@pytest.mark.parametrize("expression", [*(q[1] for q in QUERIES), *variables])
def test_every_matcher_names_a_label_that_the_metric_has_and_a_value_that_it_can_take(expression: str) -> None:
    for sample, matchers in SELECTOR.findall(expression):
        metric = metric_of(sample)
        assert metric is not None
        for label, _, values in MATCHER.findall(matchers):
            assert label in {*metric.labels, *SCRAPED}, f"{sample} has no label {label}"
            for value in values.split("|") if not values.startswith("$") else ():
                assert value in VALUES[label], f"{label} is never {value!r}"


@pytest.mark.parametrize(("title", "expression", "legend"), QUERIES)
def test_grouping_and_legend_name_labels_that_are_there(title: str, expression: str, legend: str) -> None:
    there = {label for metric in metrics_in(expression) for label in metric.labels} | SCRAPED | {"le"}
    grouped = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    assert grouped <= there, f"{title} groups by {grouped - there}"
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    # What an aggregation leaves over is all that a legend can show.
    left = grouped - {"le"} if re.match(r"(sum|max|histogram_quantile)\b", expression) else there
    assert shown <= left, f"{title} shows {shown - left}, which {expression} drops"


@pytest.mark.parametrize(("title", "expression"), [q[:2] for q in QUERIES])
def test_counters_are_asked_for_their_growth(title: str, expression: str) -> None:
    for name in OURS.findall(expression):
        metric = metric_of(name)
        if metric is not None and metric.kind in {Kind.COUNTER, Kind.HISTOGRAM}:
            assert re.search(rf"(rate|increase)\({name}\{{", expression), f"{title}: {name} without rate"


def test_rows_are_those_of_the_operator_s_questions() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Who is holding the pool?",
        "Waits",
        "Guard",
        "Locks, errors and applications",
        "Leases",
        "Relay and process",
    ]


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert all(x < 24 for x, _ in cells), f"{panel['title']} is outside of the grid"
        taken |= cells


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_every_panel_says_what_it_means_and_has_a_unit(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


def test_promtool_accepts_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool in PATH: apt-get install prometheus")
    rules = [
        # The names that Grafana would fill in.
        {"record": f"query_{number}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for number, (_, expression, _) in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
