"""What an operator's policies ask of every pod, over everything that the chart can render."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helm.charts import Manifest, containers, of_kind, pod_templates
from tests.helm.network import matches
from tests.helm.worlds import names, world

WRITABLE_ROOT: dict[str, str] = {}
"""Containers whose root file system can be written, and why. None."""

WITH_TOKEN = {"RayService/trial-loraplex/head": "KubeRay's autoscaler beside the head asks the API for pods"}
"""Pods that may present a token to the Kubernetes API, and why; only where ray.autoscaler.enabled."""

ENDS_BY_ITSELF = {"Job", "CronJob", "Pod"}
"""Kinds whose pods do their work and are done: nothing has to probe them."""

SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY|ACCESS_KEY|CREDENTIAL|PRIVATE", re.IGNORECASE)

pytestmark = pytest.mark.parametrize("name", names())


def _pods(name: str) -> list[tuple[str, Manifest]]:
    return list(pod_templates(world(name)))


def _containers(name: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    for label, pod in _pods(name):
        for container in containers(pod):
            yield f"{label}/{container['name']}", pod, container


def test_nothing_runs_as_root(name: str) -> None:
    for label, pod, container in _containers(name):
        context = {**pod["spec"].get("securityContext", {}), **container.get("securityContext", {})}
        assert context.get("runAsNonRoot") is True, label
        assert context.get("runAsUser", 0) > 0, label
        assert context.get("runAsGroup", 0) > 0, label


def test_nothing_is_privileged_or_can_become_so(name: str) -> None:
    for label, _, container in _containers(name):
        context = container["securityContext"]
        assert not context.get("privileged"), label
        assert context["allowPrivilegeEscalation"] is False, label
        assert context["capabilities"] == {"drop": ["ALL"]}, label


def test_no_pod_shares_what_is_the_hosts(name: str) -> None:
    for label, pod in _pods(name):
        spec = pod["spec"]
        assert not [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)], label
        assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume], label
        ports = [port for container in containers(pod) for port in container.get("ports", [])]
        assert not [port for port in ports if "hostPort" in port], label


def test_volumes_are_of_the_kinds_that_restricted_pods_may_have(name: str) -> None:
    for label, pod in _pods(name):
        kinds = {kind for volume in pod["spec"].get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"}, label


def test_the_root_file_system_is_read_only(name: str) -> None:
    for label, _, container in _containers(name):
        expected = label not in WRITABLE_ROOT
        assert container["securityContext"].get("readOnlyRootFilesystem") is expected, label


def test_what_is_read_only_has_a_place_for_temporary_files(name: str) -> None:
    for label, _, container in _containers(name):
        assert "/tmp" in [mount["mountPath"] for mount in container.get("volumeMounts", [])], label


def test_the_runtimes_filter_of_system_calls_is_on(name: str) -> None:
    for label, pod in _pods(name):
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, label


def test_every_image_has_a_tag_or_a_digest_and_never_latest(name: str) -> None:
    for label, _, container in _containers(name):
        image = container["image"]
        tagged = re.fullmatch(r"[^:@\s]+(:\d+)?(/[^:@\s]+)*(:(?P<tag>[\w.-]+)|@sha256:[0-9a-f]{64})", image)
        assert tagged is not None, f"{label}: {image}"
        assert tagged["tag"] != "latest", label


def test_every_container_asks_for_cores_and_memory_and_is_limited_in_memory(name: str) -> None:
    for label, _, container in _containers(name):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), label
        assert "memory" in resources["limits"], label


def test_gpus_are_asked_for_and_limited_alike(name: str) -> None:
    for label, _, container in _containers(name):
        resources = container["resources"]
        asked = {key: value for key, value in resources["requests"].items() if "/" in key}
        limited = {key: value for key, value in resources["limits"].items() if "/" in key}
        assert asked == limited, label


def test_every_process_that_stays_is_probed(name: str) -> None:
    for label, pod in _pods(name):
        if label.split("/")[0] in ENDS_BY_ITSELF:
            continue
        for container in pod["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), label
            for probe in (container["startupProbe"], container["readinessProbe"], container["livenessProbe"]):
                _leads_somewhere(label, container, probe)


def _leads_somewhere(label: str, container: Manifest, probe: Manifest) -> None:
    if "httpGet" not in probe:
        assert "exec" in probe, label
        return
    port = probe["httpGet"]["port"]
    named = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert port in named or port in named.values(), f"{label}: no port {port}"


def test_no_pod_presents_a_token_to_the_kubernetes_api(name: str) -> None:
    for label, pod in _pods(name):
        silent = pod["spec"].get("automountServiceAccountToken") is False
        may = label in WITH_TOKEN and "autoscalerOptions" in str(world(name))
        assert silent or may, label


def test_nothing_has_rights_in_the_cluster(name: str) -> None:
    rights = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")

    assert [one["kind"] for kind in rights for one in of_kind(world(name), kind)] == []


def test_names_that_sound_secret_are_filled_from_secrets(name: str) -> None:
    for label, _, container in _containers(name):
        for variable in container.get("env", []):
            if SECRET_NAMES.search(variable["name"]):
                assert "secretKeyRef" in variable.get("valueFrom", {}), f"{label}: {variable['name']}"


def test_no_whole_secret_is_poured_into_an_environment(name: str) -> None:
    for label, _, container in _containers(name):
        assert "envFrom" not in container, label


def test_config_maps_and_arguments_hold_nothing_that_looks_like_a_secret(name: str) -> None:
    texts = {f"ConfigMap/{one['metadata']['name']}": str(one["data"]) for one in of_kind(world(name), "ConfigMap")}
    texts |= {
        label: str([container.get(key, []) for key in ("command", "args")]) for label, _, container in _containers(name)
    }
    texts |= {one["metadata"]["name"]: one["spec"]["serveConfigV2"] for one in of_kind(world(name), "RayService")}
    shapes = (
        r"://[^/\s:@]+:[^/\s@]+@",
        r"\bsk-[A-Za-z0-9_-]{16,}",
        r"\bAKIA[0-9A-Z]{16}\b",
        r"BEGIN [A-Z ]*PRIVATE KEY",
    )

    found = {label: shape for label, text in texts.items() for shape in shapes if re.search(shape, text)}
    assert found == {}


def test_what_the_chart_makes_up_stands_in_its_secret_alone(name: str) -> None:
    made = [value for one in of_kind(world(name), "Secret") for value in one["data"].values()]
    texts = [(one["metadata"]["name"], str(one)) for one in world(name) if one["kind"] != "Secret"]

    for value in made:
        plain = base64.b64decode(value).decode()
        assert len(plain) >= 32
        assert [label for label, text in texts if value in text or plain in text] == []


def test_every_part_that_has_several_pods_has_a_budget(name: str) -> None:
    manifests = world(name)
    budgets = [one["spec"] for one in of_kind(manifests, "PodDisruptionBudget")]

    for label, pod in pod_templates(manifests):
        labels = pod["metadata"]["labels"]
        found = [one for one in budgets if matches(one["selector"], labels)]
        assert len(found) == (1 if _most(manifests, label) > 1 else 0), label
        for budget in found:
            assert budget.get("maxUnavailable", 1) >= 1, "a drain must come to its end"


def _most(manifests: list[Manifest], label: str) -> int:
    """How many pods of a kind there can be at once."""
    kind, name, *group = label.split("/")
    if kind == "RayService":
        (ray,) = of_kind(manifests, "RayService")
        groups = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        return sum(one["replicas"] for one in groups) if group != ["head"] else 1
    if kind not in ("Deployment", "StatefulSet"):
        return 1
    (owner,) = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name]
    scalers = [*of_kind(manifests, "HorizontalPodAutoscaler"), *of_kind(manifests, "ScaledObject")]
    for scaler in scalers:
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            most: int = scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"]
            return most
    replicas: int = owner["spec"]["replicas"]
    return replicas


def test_every_selector_selects_the_pods_that_it_is_meant_for(name: str) -> None:
    manifests = world(name)
    pods = [pod["metadata"]["labels"] for _, pod in pod_templates(manifests)]
    for kind in ("Deployment", "StatefulSet"):
        for owner in of_kind(manifests, kind):
            labels = owner["spec"]["template"]["metadata"]["labels"]
            assert matches(owner["spec"]["selector"], labels), owner["metadata"]["name"]
            assert sum(matches(owner["spec"]["selector"], one) for one in pods) == 1, owner["metadata"]["name"]
    for service in of_kind(manifests, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        assert sum(matches(selector, one) for one in pods) == 1, service["metadata"]["name"]


def test_services_lead_to_ports_that_containers_have(name: str) -> None:
    manifests = world(name)
    for service in of_kind(manifests, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        for _, pod in pod_templates(manifests):
            if not matches(selector, pod["metadata"]["labels"]):
                continue
            named = {port["name"] for one in pod["spec"]["containers"] for port in one.get("ports", [])}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named, service["metadata"]["name"]


def test_selectors_hold_nothing_that_another_version_of_the_chart_would_change(name: str) -> None:
    kept = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
    for kind in ("Deployment", "StatefulSet"):
        for owner in of_kind(world(name), kind):
            assert owner["spec"]["selector"].keys() == {"matchLabels"}
            assert owner["spec"]["selector"]["matchLabels"].keys() == kept


def test_hooks_clear_up_after_themselves(name: str) -> None:
    for one in world(name):
        annotations: dict[str, Any] = one["metadata"].get("annotations") or {}
        if "helm.sh/hook" in annotations:
            policies = annotations["helm.sh/hook-delete-policy"].split(",")
            assert "before-hook-creation" in policies, one["metadata"]["name"]


def test_no_object_says_where_it_goes(name: str) -> None:
    assert [one["metadata"]["name"] for one in world(name) if "namespace" in one["metadata"]] == [], "helm decides"


def test_every_object_says_which_release_it_is_of(name: str) -> None:
    for one in world(name):
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "trial", one["metadata"]["name"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm", one["metadata"]["name"]


def test_stopping_takes_no_longer_than_a_pod_is_given(name: str) -> None:
    for label, pod in _pods(name):
        spec = pod["spec"]
        for container in spec["containers"]:
            command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
            if command[:1] == ["sleep"]:
                assert int(command[1]) < spec["terminationGracePeriodSeconds"], label
