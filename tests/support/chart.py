"""The Helm chart, rendered by a real helm: alone, or as a dependency of an application's chart as docs/deploy.md shows."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm" / "poolguard"
DEPLOYMENT: Final = {
    "upstream": {"secretName": "db"},
    "clients": {"usersSecret": "people", "users": ["app", "jobs"]},
}
SIDECAR: Final = {"mode": "sidecar", "upstream": {"secretName": "db"}}
KUBERNETES: Final = "1.33.0"
Json = dict[str, Any]


def find_helm() -> str:
    """helm in PATH; the test is skipped without."""
    found = shutil.which("helm")
    if found is None:
        pytest.skip("no helm in PATH: go install helm.sh/helm/v3/cmd/helm@latest")
    return found


class Chart:
    """Runs helm on a chart; what it renders comes by kind and name."""

    def __init__(self, helm: str, folder: Path, tmp_path: Path) -> None:
        self._helm, self._folder, self._tmp = helm, folder, tmp_path

    def run(self, verb: str, values: Json, kubernetes: str = KUBERNETES) -> subprocess.CompletedProcess[str]:
        file = self._tmp / "values.yaml"
        file.write_text(json.dumps(values))
        name = ["shop"] if verb == "template" else []
        line = [self._helm, verb, *name, str(self._folder), "-f", str(file), "--kube-version", kubernetes]
        # Helm would read plugins and repositories of whoever runs the tests.
        home = {key: str(self._tmp) for key in ("HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME")}
        return subprocess.run(line, env=os.environ | home, capture_output=True, text=True, check=False)

    def render(self, values: Json, kubernetes: str = KUBERNETES) -> dict[tuple[str, str], Json]:
        done = self.run("template", values, kubernetes)
        assert done.returncode == 0, done.stderr
        found = [document for document in yaml.safe_load_all(done.stdout) if document]
        return {(document["kind"], document["metadata"]["name"]): document for document in found}


def parent_chart(helm: str, tmp_path: Path) -> Chart:
    """An application's chart that has poolguard's as a dependency, written as docs/deploy.md says."""
    folder = tmp_path / "shop"
    (folder / "templates").mkdir(parents=True)
    shutil.copytree(CHART, folder / "charts" / "poolguard")
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 1.0.0}\n")
    (folder / "templates" / "pod.yaml").write_text(documented_template())
    return Chart(helm, folder, tmp_path)


def documented_template() -> str:
    text = (ROOT / "docs" / "deploy.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    return next(block for block in blocks if "poolguard.sidecar.native" in block)
