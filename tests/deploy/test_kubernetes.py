"""What Kubernetes is given: by its own schemas, and held to the settings and the image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from telemetry_app.settings import Settings
from tests.conftest import PROJECT
from tests.deploy import dockerfile, promql
from tests.deploy.test_compose import longest_statement_s

FOLDER = PROJECT / "deploy" / "kubernetes"
#: Of Kubernetes: one that clusters of today are not older than, and the newest known here.
VERSIONS = ("1.32", "1.37")
ROLES = ("write", "live")

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """Return what kustomize makes of a folder."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    """The manifests, with the example of the secret."""
    return [*build(FOLDER / "base"), yaml.safe_load((FOLDER / "base" / "servers.example.yaml").read_text())]


def overlaid(folder: Path, component: str) -> list[Manifest]:
    """Return the manifests of an overlay with a component."""
    relative = os.path.relpath(FOLDER, folder)
    overlay = {"resources": [f"{relative}/base"], "components": [f"{relative}/{component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return build(folder)


@pytest.fixture
def scaled(tmp_path: Path) -> list[Manifest]:
    """The manifests of an overlay with KEDA."""
    return overlaid(tmp_path, "keda")


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the manifests of a kind by name, without the prefix that all have."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    return {manifest["metadata"]["name"].removeprefix("telemetry-"): manifest for manifest in found}


def pod_of(deployment: Manifest) -> Manifest:
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def worker_of(deployment: Manifest) -> Manifest:
    (container,) = pod_of(deployment)["containers"]
    found: Manifest = container
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(base: list[Manifest], version: str) -> None:
    """Each manifest follows the strict schema: no field is unknown, missing or of another type."""
    for manifest in base:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_an_unknown_field_is_found(base: list[Manifest]) -> None:
    """The schema is really asked: a misspelt field is refused."""
    deployment = of_kind(base, "Deployment")["write"]
    worker_of(deployment)["readynessProbe"] = worker_of(deployment).pop("readinessProbe")
    try:
        with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
            kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)
    finally:
        worker_of(deployment)["readinessProbe"] = worker_of(deployment).pop("readynessProbe")


def test_a_deployment_for_each_role(base: list[Manifest]) -> None:
    """Each role runs twice, under a budget that leaves one, and changes without a pause."""
    deployments, budgets = of_kind(base, "Deployment"), of_kind(base, "PodDisruptionBudget")
    assert set(deployments) == set(budgets) == set(ROLES)
    for role, deployment in deployments.items():
        assert {"name": "ROLES", "value": role} in worker_of(deployment)["env"]
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert budgets[role]["spec"]["minAvailable"] == 1
        assert budgets[role]["spec"]["selector"] == deployment["spec"]["selector"]
        assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("role", ROLES)
def test_probes(base: list[Manifest], role: str) -> None:
    """A pod lives while /healthz answers and gets traffic while /readyz does, on the port of the metrics."""
    worker = worker_of(of_kind(base, "Deployment")[role])
    asked = {name: worker[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"
    }  # fmt: skip
    ports = {port["name"]: port["containerPort"] for port in worker["ports"]}
    assert {get["port"] for get in asked.values()} == {"metrics"}
    assert ports["metrics"] == Settings.model_fields["metrics_port"].default
    assert ports.get("live", Settings.model_fields["live_port"].default) == Settings.model_fields["live_port"].default


@pytest.mark.parametrize("role", ROLES)
def test_pods_have_time_and_no_rights(base: list[Manifest], role: str) -> None:
    """There is time to drain; nothing runs as root, writes, or is told of other services."""
    pod = pod_of(of_kind(base, "Deployment")[role])
    worker = worker_of(of_kind(base, "Deployment")[role])
    pause = worker.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] > pause + longest_statement_s()
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert set(worker["resources"]["requests"]) == {"cpu", "memory"}
    assert set(worker["resources"]["limits"]) == {"memory"}
    assert [rest for name, rest in dockerfile.instructions() if name == "USER"][-1].isdecimal()


def test_settings_are_settings(base: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of a pod is a setting, and together they start its role."""
    settings, servers = of_kind(base, "ConfigMap"), of_kind(base, "Secret")
    (common,) = settings.values()
    for role in ROLES:
        variables = {**common["data"], **servers["servers"]["stringData"], "ROLES": role}
        assert set(variables) - {field.upper() for field in Settings.model_fields} == set()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        started = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic's own argument
        assert (started.has_write_side, started.has_live_side) == (role == "write", role == "live")
        sources = worker_of(of_kind(base, "Deployment")[role])["envFrom"]
        named = [source.popitem()[1]["name"] for source in (dict(each) for each in sources)]
        assert named == [common["metadata"]["name"], servers["servers"]["metadata"]["name"]]


def test_the_service_finds_the_live_pods(base: list[Manifest]) -> None:
    """The service leads to the live port of the pods of the live role."""
    service, deployment = of_kind(base, "Service")["live"], of_kind(base, "Deployment")["live"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {port["name"] for port in worker_of(deployment)["ports"]}


def test_the_network_lets_through_what_is_needed(base: list[Manifest]) -> None:
    """All pods are under the policy; it names the ports that they serve and those of the servers they are told."""
    (policy,) = of_kind(base, "NetworkPolicy").values()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert set(policy["spec"]["podSelector"].get("matchLabels", {})) <= {"app.kubernetes.io/name"}
    inward = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    outward = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert inward == {"live", "metrics"}
    assert outward == {53, 6379, 5432, 8055}
    assert all(rule["from"] for rule in policy["spec"]["ingress"])
    assert all(rule["to"] for rule in policy["spec"]["egress"])


def test_the_namespace_allows_the_pods(base: list[Manifest]) -> None:
    """Everything is in one namespace, which admits nothing but restricted pods."""
    (namespace,) = (manifest for manifest in base if manifest["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [manifest for manifest in base if manifest["kind"] != "Namespace"]
    assert {manifest["metadata"]["namespace"] for manifest in others} == {namespace["metadata"]["name"]}


def test_the_lag_decides_how_many(scaled: list[Manifest]) -> None:
    """With KEDA, it alone says how many workers store, by a metric that there is, and never fewer than two."""
    deployment, scaler = of_kind(scaled, "Deployment")["write"], of_kind(scaled, "ScaledObject")["write"]
    assert "replicas" not in deployment["spec"]
    assert scaler["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaler["spec"]
    assert set(spec) == {
        "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "fallback", "advanced", "triggers"
    }  # fmt: skip
    assert spec["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}
    assert 2 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert promql.metrics(trigger["metadata"]["query"]) == {"processor_consumer_lag"}
    # Values of a trigger are strings, or KEDA refuses the object.
    assert {type(value) for value in trigger["metadata"].values()} == {str}
    assert scaler["metadata"]["namespace"] in trigger["metadata"]["query"]


def test_the_base_map(tmp_path: Path) -> None:
    """With a base map, who shows reads its file from a volume for all nodes, by a setting that there is."""
    manifests = overlaid(tmp_path, "basemap")
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    claim, deployments = of_kind(manifests, "PersistentVolumeClaim")["maps"], of_kind(manifests, "Deployment")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (volume,) = pod_of(deployments["live"])["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}
    worker = worker_of(deployments["live"])
    (mount,) = worker["volumeMounts"]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    variables = {variable["name"]: variable["value"] for variable in worker["env"]}
    assert set(variables) == {"ROLES", "LIVE_BASEMAP"}
    assert Path(variables["LIVE_BASEMAP"]).parent == Path(mount["mountPath"])
    assert "volumes" not in pod_of(deployments["write"])
