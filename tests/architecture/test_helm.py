"""The chart: renders in both modes, with settings that poolguard takes, and pods that hold no privilege."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

import poolguard
from poolguard.settings.load import parse
from poolguard.settings.loaded import Loaded
from poolguard.settings.model import AuthMethod
from tests.support.chart import CHART, DEPLOYMENT, SIDECAR, Chart, Json, documented_template, find_helm, parent_chart


@pytest.fixture(scope="session")
def helm() -> str:
    return find_helm()


@pytest.fixture
def chart(helm: str, tmp_path: Path) -> Chart:
    return Chart(helm, CHART, tmp_path)


@pytest.fixture
def parent(helm: str, tmp_path: Path) -> Chart:
    """An application's chart that has poolguard's as a dependency, written as docs/deploy.md says."""
    return parent_chart(helm, tmp_path)


def settings_in(documents: dict[tuple[str, str], Json], name: str) -> Loaded:
    text: str = documents["ConfigMap", name]["data"]["poolguard.yaml"]
    return parse(text, "poolguard.yaml", {"DATABASE_URL": "postgresql://u@db/shop"})


def containers(document: Json) -> Iterator[Json]:
    spec = document["spec"]["template"]["spec"]
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def deployed(documents: dict[tuple[str, str], Json]) -> Json:
    (container,) = containers(documents["Deployment", "shop-poolguard"])
    return container


def assert_no_privilege(container: Json) -> None:
    security = container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


# Deployment


@pytest.mark.parametrize("values", [DEPLOYMENT, SIDECAR], ids=["deployment", "sidecar"])
def test_lint_has_nothing_to_say(chart: Chart, values: Json) -> None:
    done = chart.run("lint", values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def test_deployment_asks_its_clients_for_passwords_from_the_secret(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT)
    settings = settings_in(documents, "shop-poolguard").settings
    assert settings.listen.clients.host == "0.0.0.0"
    assert settings.auth.method is AuthMethod.SCRAM
    assert {name: user.password_file for name, user in settings.auth.users.items()} == {
        name: f"/run/secrets/poolguard/users/{name}" for name in ("app", "jobs")
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in deployed(documents)["volumeMounts"]}
    assert mounts["poolguard-users"] == "/run/secrets/poolguard/users"
    volumes = {v["name"]: v for v in documents["Deployment", "shop-poolguard"]["spec"]["template"]["spec"]["volumes"]}
    assert set(volumes) == set(mounts)
    assert volumes["poolguard-users"]["secret"]["secretName"] == "people"


def test_settings_are_mounted_where_poolguard_reads_them_and_can_change(chart: Chart) -> None:
    container = deployed(chart.render(DEPLOYMENT))
    assert container["args"] == ["run"]
    assert {"name": "POOLGUARD_CONFIG", "value": "/etc/poolguard/poolguard.yaml"} in container["env"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "poolguard-settings"]
    assert mount == {"name": "poolguard-settings", "mountPath": "/etc/poolguard", "readOnly": True}


def test_pods_hold_no_privilege_and_no_token(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT)
    assert_no_privilege(deployed(documents))
    spec = documents["Deployment", "shop-poolguard"]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert documents["ServiceAccount", "shop-poolguard"]["automountServiceAccountToken"] is False
    assert spec["securityContext"]["fsGroup"] == deployed(documents)["securityContext"]["runAsGroup"]


def test_probes_go_to_the_metrics_listener_wherever_it_is(chart: Chart) -> None:
    container = deployed(chart.render(DEPLOYMENT | {"settings": {"listen": {"metrics": {"port": 9999}}}}))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"pg-clients": 6432, "pg-metrics": 9999}
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/startupz", "port": "pg-metrics"},
        "liveness": {"path": "/livez", "port": "pg-metrics"},
        "readiness": {"path": "/readyz", "port": "pg-metrics"},
    }


def test_secrets_come_by_reference_and_never_by_value(chart: Chart) -> None:
    values = DEPLOYMENT | {"adminToken": {"secretName": "admin", "secretKey": "t"}}
    environment = {item["name"]: item.get("valueFrom") for item in deployed(chart.render(values))["env"]}
    assert environment == {
        "POOLGUARD_CONFIG": None,
        "DATABASE_URL": {"secretKeyRef": {"name": "db", "key": "uri"}},
        "POOLGUARD_ADMIN_TOKEN": {"secretKeyRef": {"name": "admin", "key": "t"}},
    }


def test_the_service_finds_the_pods_and_their_port(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT | {"service": {"port": 5432}})
    service = documents["Service", "shop-poolguard"]["spec"]
    labels = documents["Deployment", "shop-poolguard"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    (port,) = service["ports"]
    assert (port["port"], port["targetPort"]) == (5432, "pg-clients")


def test_leases_and_admin_are_reachable_only_where_the_settings_open_them(chart: Chart) -> None:
    def ports(values: Json) -> tuple[set[str], set[str]]:
        documents = chart.render(values)
        service = documents["Service", "shop-poolguard"]["spec"]["ports"]
        return {p["name"] for p in deployed(documents)["ports"]}, {p["targetPort"] for p in service}

    assert ports(DEPLOYMENT) == ({"pg-clients", "pg-metrics"}, {"pg-clients"})
    opened = DEPLOYMENT | {"settings": {"listen": {"control": {"host": "0.0.0.0"}}}}
    assert ports(opened) == ({"pg-clients", "pg-metrics", "pg-control"}, {"pg-clients", "pg-control"})


def test_waiting_before_the_end_is_left_out_where_kubernetes_can_not(chart: Chart) -> None:
    assert deployed(chart.render(DEPLOYMENT))["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in deployed(chart.render(DEPLOYMENT, "1.29.0"))


def test_the_pod_may_take_as_long_as_a_drain(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT)
    spec = documents["Deployment", "shop-poolguard"]["spec"]["template"]["spec"]
    drain = settings_in(documents, "shop-poolguard").settings.limits.drain_timeout
    waits = deployed(documents)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > drain + waits
    patient = {"settings": {"limits": {"drain_timeout": "5m"}}, "deployment": {"terminationGracePeriodSeconds": 400}}
    assert chart.render(DEPLOYMENT | patient)
    assert chart.render(DEPLOYMENT | {"settings": {"limits": {"drain_timeout": "${DRAIN}"}}}), "filled in later"


def test_image_is_the_chart_s_version_unless_told_otherwise(chart: Chart) -> None:
    assert deployed(chart.render(DEPLOYMENT))["image"] == f"poolguard:{poolguard.__version__}"
    digest = "sha256:" + "0" * 64
    pinned = DEPLOYMENT | {"image": {"repository": "r.example/p", "tag": "9", "digest": digest}}
    assert deployed(chart.render(pinned))["image"] == f"r.example/p@{digest}"


def test_a_network_policy_lets_in_who_is_named_and_metrics_and_nobody_else(chart: Chart) -> None:
    shop, prometheus = ({"podSelector": {"matchLabels": {"app": name}}} for name in ("shop", "prometheus"))
    wanted = {"enabled": True, "clients": [shop], "metrics": [prometheus]}
    documents = chart.render(DEPLOYMENT | {"networkPolicy": wanted})
    policy = documents["NetworkPolicy", "shop-poolguard"]["spec"]
    labels = documents["Deployment", "shop-poolguard"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    allowed = [([port["port"] for port in rule["ports"]], rule["from"]) for rule in policy["ingress"]]
    assert allowed == [(["pg-clients"], [shop]), (["pg-metrics"], [prometheus])]
    opened = {"networkPolicy": wanted, "settings": {"listen": {"control": {"host": "0.0.0.0"}}}}
    policy = chart.render(DEPLOYMENT | opened)["NetworkPolicy", "shop-poolguard"]["spec"]
    assert [port["port"] for port in policy["ingress"][0]["ports"]] == ["pg-clients", "pg-control"]


@pytest.mark.parametrize("most", [2, "25%"])
def test_a_disruption_budget_is_for_the_pods_of_the_deployment(chart: Chart, most: int | str) -> None:
    wanted = {"podDisruptionBudget": {"enabled": True, "maxUnavailable": most}}
    documents = chart.render(DEPLOYMENT | wanted)
    budget = documents["PodDisruptionBudget", "shop-poolguard"]["spec"]
    labels = documents["Deployment", "shop-poolguard"]["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == most
    assert budget["selector"]["matchLabels"].items() <= labels.items()


# Sidecar


def test_sidecar_mode_renders_the_settings_alone(chart: Chart) -> None:
    documents = chart.render(SIDECAR | {"settings": {"pools": {"app": {"size": 3}}}})
    assert set(documents) == {("ConfigMap", "shop-poolguard")}
    settings = settings_in(documents, "shop-poolguard").settings
    assert settings.pools["app"].size == 3
    assert settings.listen.clients.host == "127.0.0.1"


def test_native_sidecar_starts_first_and_stays(parent: Chart) -> None:
    documents = parent.render({"poolguard": SIDECAR})
    pod = documents["Deployment", "shop"]["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert "readinessProbe" not in sidecar
    assert "lifecycle" not in sidecar
    assert_no_privilege(sidecar)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == {"poolguard-settings"} == set(volumes)
    assert ("ConfigMap", volumes["poolguard-settings"]["configMap"]["name"]) in documents


def test_sidecar_gates_readiness_only_on_request(parent: Chart) -> None:
    values = {"poolguard": SIDECAR | {"sidecar": {"gateReadiness": True}}}
    (sidecar, *_) = containers(parent.render(values)["Deployment", "shop"])
    assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_plain_sidecar_outlives_the_application_for_a_moment(parent: Chart, tmp_path: Path) -> None:
    template = tmp_path / "shop" / "templates" / "pod.yaml"
    plain = documented_template().replace("initContainers:", "containers:", 1)
    plain = plain.replace("poolguard.sidecar.native", "poolguard.sidecar.plain")
    plain = plain.replace("      containers:\n        - name: shop", "        - name: shop")
    template.write_text(plain)
    first, second = containers(parent.render({"poolguard": SIDECAR})["Deployment", "shop"])
    assert [first["name"], second["name"]] == ["poolguard", "shop"]
    assert "restartPolicy" not in first
    assert first["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert_no_privilege(first)


# What is wrong is said before it is installed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "upstream.secretName is empty"),
        ({"upstream": {"secretName": "db"}}, "clients.usersSecret is empty"),
        ({"upstream": {"secretName": "db"}, "clients": {"usersSecret": "p"}}, "clients.users is empty"),
        ({"mode": "sidecar", "settings": {"upstream": {"url": "postgresql://u:pw@h/d"}}}, "holds a password"),
        (SIDECAR | {"settings": {"pools": {"app": {"sise": 3}}}}, "sise"),
        (SIDECAR | {"settings": {"pools": {"app": {"wait_timeout": 5}}}}, "wait_timeout"),
        (SIDECAR | {"settings": {"listen": {"metrics": {"port": "${PORT}"}}}}, "a number here"),
        (SIDECAR | {"sidecars": {}}, "sidecars"),
        (SIDECAR | {"podMonitor": {"enabled": True}}, "podMonitor.podSelector is empty"),
        (DEPLOYMENT | {"networkPolicy": {"enabled": True}}, "networkPolicy.clients is empty"),
        (DEPLOYMENT | {"settings": {"limits": {"drain_timeout": "1m30s"}}}, "limits.drain_timeout (90s)"),
        (DEPLOYMENT | {"deployment": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds (30)"),
        (SIDECAR | {"kubernetesEvents": {"enabled": True}}, "kubernetesEvents.serviceAccountName is empty"),
    ],
)
def test_what_can_not_work_is_refused_with_the_value_to_set(chart: Chart, values: Json, said: str) -> None:
    template = dict(values)
    if said == "a number here":
        template |= {"mode": "deployment", "clients": DEPLOYMENT["clients"]}
    done = chart.run("template", template)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_refused_password_is_not_repeated(chart: Chart) -> None:
    url = "postgresql://u:hunter2@h/d"
    done = chart.run("template", {"mode": "sidecar", "settings": {"upstream": {"url": url}}})
    assert "hunter2" not in done.stdout + done.stderr


# Sight


POD: Final = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}


def names_of_the_pod(container: Json) -> dict[str, str]:
    env = {item["name"]: item.get("valueFrom", {}).get("fieldRef", {}) for item in container["env"]}
    return {name: env.get(name, {}).get("fieldPath") for name in POD}


def test_events_are_granted_to_the_pod_s_account_and_nothing_else_is(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT | {"kubernetesEvents": {"enabled": True}})
    role = documents["Role", "shop-poolguard-events"]
    assert role["rules"] == [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]
    binding = documents["RoleBinding", "shop-poolguard-events"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    spec = documents["Deployment", "shop-poolguard"]["spec"]["template"]["spec"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (spec["serviceAccountName"], "default")
    assert spec["automountServiceAccountToken"] is True
    assert names_of_the_pod(deployed(documents)) == POD
    assert settings_in(documents, "shop-poolguard").settings.incidents.kubernetes.enabled
    assert_no_privilege(deployed(documents))


def test_a_sidecar_s_events_are_granted_to_the_application_s_account(parent: Chart) -> None:
    events = {"enabled": True, "serviceAccountName": "shop"}
    documents = parent.render({"poolguard": SIDECAR | {"kubernetesEvents": events}})
    (subject,) = documents["RoleBinding", "shop-poolguard-events"]["subjects"]
    assert subject["name"] == "shop"
    sidecar, *_ = containers(documents["Deployment", "shop"])
    assert names_of_the_pod(sidecar) == POD


def test_without_events_nothing_is_granted(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT)
    assert {kind for kind, _ in documents} == {"ConfigMap", "Deployment", "Service", "ServiceAccount"}
    assert not settings_in(documents, "shop-poolguard").settings.incidents.kubernetes.enabled


def test_pod_monitor_selects_the_pods_by_their_metrics_port(chart: Chart) -> None:
    documents = chart.render(DEPLOYMENT | {"podMonitor": {"enabled": True, "labels": {"release": "prom"}}})
    monitor = documents["PodMonitor", "shop-poolguard"]
    labels = documents["Deployment", "shop-poolguard"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "pg-metrics"
    assert monitor["metadata"]["labels"]["release"] == "prom"


def test_pod_monitor_of_sidecars_selects_the_application_s_pods(chart: Chart) -> None:
    documents = chart.render(SIDECAR | {"podMonitor": {"enabled": True, "podSelector": {"app": "shop"}}})
    assert documents["PodMonitor", "shop-poolguard"]["spec"]["selector"]["matchLabels"] == {"app": "shop"}


def test_alert_rules_come_whole_and_with_the_labels_that_prometheus_looks_for(chart: Chart) -> None:
    assert ("PrometheusRule", "shop-poolguard") not in chart.render(DEPLOYMENT)
    values = DEPLOYMENT | {"prometheusRule": {"enabled": True, "labels": {"release": "prom"}}}
    found = chart.render(values)["PrometheusRule", "shop-poolguard"]
    assert found["metadata"]["labels"]["release"] == "prom"
    assert found["spec"] == yaml.safe_load((CHART / "rules" / "poolguard.yaml").read_text())


def test_dashboard_comes_whole_and_with_the_label_that_grafana_looks_for(chart: Chart) -> None:
    found = chart.render(SIDECAR | {"dashboard": {"enabled": True}})["ConfigMap", "shop-poolguard-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["poolguard.json"]) == json.loads((CHART / "dashboards/poolguard.json").read_text())


# The files themselves: no helm needed


def test_values_schema_holds_today_s_settings() -> None:
    spec = importlib.util.spec_from_file_location("refresh", CHART.parent / "refresh.py")
    assert spec is not None
    assert spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert refresh.refreshed(schema) == schema, "a setting has changed: run python helm/refresh.py"


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    def names(node: Json, path: str = "") -> Iterator[str]:
        for name, value in node.items():
            yield f"{path}{name}"
            if isinstance(value, dict):
                yield from names(value, f"{path}{name}.")

    def allowed(node: Json, path: str = "") -> Iterator[str]:
        for name, part in node.get("properties", {}).items():
            yield f"{path}{name}"
            if name != "settings":
                yield from allowed(part, f"{path}{name}.")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Requests and limits are Kubernetes' own; these two keys are Helm's.
    written = {name for name in names(values) if not name.startswith("resources.")}
    assert written == set(allowed(schema)) - {"global", "enabled"}


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == poolguard.__version__
