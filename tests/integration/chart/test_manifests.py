"""What the chart renders, and the YAML that the docs show, is what Kubernetes takes: by its own schemas, strictly."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from tests.support.chart import CHART, DEPLOYMENT, ROOT, SIDECAR, Chart, Json, find_helm, parent_chart

VERSIONS: Final = ("1.29.0", "1.33.0", "1.37.0")
FOREIGN_APIS: Final = ("monitoring.coreos.com/",)
"""Of operators: Kubernetes itself has no schema for them."""
EVERYTHING: Final[Json] = DEPLOYMENT | {
    "adminToken": {"secretName": "admin"},
    "imagePullSecrets": [{"name": "pull"}],
    "extraEnv": [{"name": "PGAPPNAME", "value": "x"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "rds"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "deployment": {
        "replicas": 3,
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "shop"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
        ],
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "r"}},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "dashboard": {"enabled": True, "annotations": {"grafana_folder": "PostgreSQL"}},
    "podMonitor": {"enabled": True},
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {"enabled": True, "clients": [{"podSelector": {}}]},
}


def check(documents: dict[tuple[str, str], Json], kubernetes: str) -> None:
    for document in documents.values():
        if not document["apiVersion"].startswith(FOREIGN_APIS):
            validate(document, kubernetes.rpartition(".")[0], strict=True)


@pytest.mark.parametrize("kubernetes", VERSIONS)
@pytest.mark.parametrize("values", [DEPLOYMENT, EVERYTHING], ids=["least", "everything"])
def test_a_deployment_of_its_own(values: Json, kubernetes: str, tmp_path: Path) -> None:
    documents = Chart(find_helm(), CHART, tmp_path).render(values, kubernetes)
    assert ("Deployment", "shop-poolguard") in documents
    check(documents, kubernetes)


@pytest.mark.parametrize("kubernetes", VERSIONS)
@pytest.mark.parametrize("gated", [True, False])
def test_an_application_with_the_sidecar_in_it(gated: bool, kubernetes: str, tmp_path: Path) -> None:
    values = SIDECAR | {"sidecar": {"gateReadiness": gated}, "adminToken": {"secretName": "admin"}}
    documents = parent_chart(find_helm(), tmp_path).render({"poolguard": values}, kubernetes)
    assert ("Deployment", "shop") in documents
    check(documents, kubernetes)


def plain_manifests() -> Iterator[Any]:
    for block in (ROOT / "docs" / "deploy.md").read_text().split("```yaml\n")[1:]:
        text = block.split("```")[0]
        if "{{" not in text and "kind:" in text:
            yield from yaml.safe_load_all(text)


def test_the_plain_manifest_of_the_docs() -> None:
    (manifest,) = plain_manifests()
    validate(manifest, "1.29", strict=True)


def test_what_kubernetes_would_refuse_is_refused_here(tmp_path: Path) -> None:
    """That the checks above can fail."""
    values = DEPLOYMENT | {"deployment": {"tolerations": [{"key": "a", "effects": "NoSchedule"}]}}
    documents = Chart(find_helm(), CHART, tmp_path).render(values)
    with pytest.raises(ValidationError):
        check(documents, VERSIONS[0])
