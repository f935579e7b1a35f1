"""Check 12: the alert rules ask for what there is, and fire on what each of the reports leaves in the metrics."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from poolguard.metrics.catalogue import Kind
from tests.architecture.test_dashboard import GROUPED, MATCHER, OURS, QUERIES, SCRAPED, SELECTOR, metric_of

RULES: Final = Path(__file__).parents[2] / "helm" / "poolguard" / "rules" / "poolguard.yaml"
ALERTS: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
REPORTS: Final[dict[str, dict[str, Any]]] = yaml.safe_load((Path(__file__).parent / "reports.yaml").read_text())
WHERE: Final = {"job": "shop", "instance": "10.0.0.7:9127"}
"""What Prometheus adds to each series."""

each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool in PATH: apt-get install prometheus")
    return found


def run(promtool: str, *arguments: str | Path) -> None:
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_alert
def test_an_alert_asks_for_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    names = OURS.findall(rule["expr"])
    assert names
    for name in names:
        metric = metric_of(name)
        assert metric is not None, f"not in the catalogue: {name}"
        if metric.kind is Kind.COUNTER:
            assert re.search(rf"increase\({name}\b", rule["expr"]), f"{name} without its growth"
    for sample, matchers in SELECTOR.findall(rule["expr"]):
        metric = metric_of(sample)
        assert metric is not None
        for label, _, _ in MATCHER.findall(matchers):
            assert label in metric.labels, f"{sample} has no label {label}"
    there = {label for name in names if (metric := metric_of(name)) for label in metric.labels} | SCRAPED
    for group in GROUPED.findall(rule["expr"]):
        assert {label.strip() for label in group.split(",")} <= there


@each_alert
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}


@each_alert
def test_what_an_alert_says_names_labels_that_it_has(rule: dict[str, Any]) -> None:
    shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    there = {label for name in OURS.findall(rule["expr"]) if (m := metric_of(name)) for label in m.labels} | SCRAPED
    dropped = {x.strip() for group in re.findall(r"without \(([^)]*)\)", rule["expr"]) for x in group.split(",")}
    assert shown <= there - dropped


def test_alerts_have_names_of_their_own_and_ours() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("Poolguard") for name in names)


def test_promtool_takes_the_file_as_it_is(promtool: str) -> None:
    run(promtool, "check", "rules", RULES)


def test_every_alert_fires_on_some_report_and_every_report_is_known() -> None:
    fired = {name for report in REPORTS.values() for name in report["alerts"]}
    assert {f"Poolguard{name}" for name in fired} == {rule["alert"] for rule in ALERTS}
    # The five reports, and what goes wrong besides them.
    assert set(REPORTS) >= {"leak", "client_pool", "deadlocks", "job_queue", "duplicate_keys", "calm"}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_fires_its_alerts_and_no_others_and_the_dashboard_shows_the_culprit(
    promtool: str, tmp_path: Path, name: str
) -> None:
    report = REPORTS[name]
    at = report.get("at", "5m")
    tests = [asks(at, 'group by (alertname) (ALERTS{alertstate="firing"})', firing(report["alerts"]))]
    tests += [asks(at, panel(title), samples) for title, samples in report.get("shows", {}).items()]
    inputs = [{"series": series(text), "values": str(values)} for text, values in report["series"].items()]
    file = tmp_path / "test.json"  # JSON is YAML
    one = {"interval": "15s", "input_series": inputs, "promql_expr_test": tests}
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [one]}))
    run(promtool, "test", "rules", file)


def firing(alerts: list[str]) -> list[str]:
    return [f'{{alertname="Poolguard{alert}"}} 1' for alert in alerts]


def asks(at: str, expression: str, samples: list[str]) -> dict[str, Any]:
    wanted = [{"labels": labels, "value": float(value)} for labels, _, value in (s.rpartition(" ") for s in samples)]
    return {"eval_time": at, "expr": expression, "exp_samples": wanted}


def panel(title: str) -> str:
    """The first question of the dashboard's panel, about every instance and pool."""
    expression = next(expression for panel_title, expression, _ in QUERIES if panel_title == title)
    return re.sub(r"\$__\w+", "5m", expression).replace("$instance", ".+").replace("$pool", ".+")


def series(text: str) -> str:
    """A series as it is scraped. Its metric and labels must be the catalogue's: a misspelt one would prove nothing."""
    name, _, given = text.rstrip("}").partition("{")
    labels = dict(pair.split("=", 1) for pair in given.split(",") if pair)
    if name != "up":
        metric = metric_of(name)
        assert metric is not None, f"not in the catalogue: {name}"
        if "pool" in metric.labels:
            labels.setdefault("pool", '"app"')
        assert set(labels) == set(metric.labels), f"{name} has the labels {metric.labels}"
    labels |= {key: f'"{value}"' for key, value in WHERE.items()}
    return name + "{" + ",".join(f"{key}={value}" for key, value in labels.items()) + "}"
