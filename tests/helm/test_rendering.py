"""Everything that the chart renders is what Kubernetes and the operators' CRDs take."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.helm import worlds
from tests.helm.charts import CHART, EXAMPLES, ROOT, examples, merged, render, run_helm, validate

_EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scheduling": {
        "gateway": {
            "nodeSelector": {"pool": "gpu"},
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "podAnnotations": {"team": "models"},
            "podLabels": {"team": "models"},
            "env": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        },
        "image": {"digest": "sha256:" + "ab" * 32, "pullSecrets": ["registry"]},
    },
    "volumes": {
        "storage": {
            "keep": False,
            "control": {"enabled": True},
            "hub": {"enabled": True, "storageClass": "shared"},
            "models": {"existingClaim": "models"},
            "cache": {"type": "ephemeral", "storageClass": "fast"},
            "knowledge": {"existingClaim": "index"},
            "state": {"existingClaim": "state"},
        },
        "extraVolumes": [{"name": "certificates", "configMap": {"name": "certificates"}}],
        "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/certificates", "readOnly": True}],
    },
    "bare": {
        "migrations": {"enabled": False},
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a/b": "c"}},
        "config": {"server": {"port": 8001, "authentication": "off", "allow_unauthenticated": True}, "api_keys": []},
        "test": {"enabled": False},
    },
}
_TOPOLOGIES = ("standalone", "deployment", "rayservice")


_MATRIX = [(topology, extra) for topology in _TOPOLOGIES for extra in _EXTRAS]


@pytest.mark.parametrize("name", worlds.names())
def test_every_object_fits_the_schemas_of_kubernetes_and_of_the_operators(name: str) -> None:
    validate(worlds.world(name))


@pytest.mark.parametrize(("topology", "extra"), _MATRIX)
def test_every_topology_takes_every_option(topology: str, extra: str) -> None:
    values = merged(worlds.WORLDS[topology], _EXTRAS[extra])
    if topology == "rayservice":
        values.pop("service", None)  # KubeRay's own, which the chart refuses to be told about
    validate(render(values))


@pytest.mark.parametrize("version", ["1.27", "1.30", "1.34"])
def test_old_and_new_versions_of_kubernetes_take_it(version: str) -> None:
    validate(render(worlds.WORLDS["deployment-everything"], "--kube-version", version), version)


@pytest.mark.parametrize("name", examples())
def test_lint_has_nothing_to_say_about_an_example(name: str) -> None:
    linted = run_helm("lint", "--strict", str(CHART), "--values", str(EXAMPLES / f"{name}.yaml"))

    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "[WARNING]" not in linted.stdout
    assert "Fail:" not in linted.stderr


def test_lint_has_nothing_to_say_about_the_defaults() -> None:
    linted = run_helm("lint", "--strict", str(CHART))

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_chart_and_the_program_have_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = run_helm("show", "chart", str(CHART)).stdout

    assert f"appVersion: {project['version']}" in shown.replace('"', "")


def test_the_same_values_give_the_same_objects_where_secrets_are_named() -> None:
    values = merged(worlds.WORLDS["deployment"], {"secrets": {"serviceToken": {"name": "service"}}})
    first, again = (render(values, release="steady"), render(values, "--skip-tests", release="steady"))

    assert first == again
    assert not [manifest for manifest in first if manifest["kind"] == "Secret"]


def test_the_packed_chart_leaves_room_in_the_secret_where_helm_keeps_a_release(tmp_path: Path) -> None:
    packed = run_helm("package", str(CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("*.tgz")

    assert packed.returncode == 0
    # A Secret holds 1 MiB; Helm writes the chart into it twice encoded, beside the manifests.
    assert archive.stat().st_size < 250_000
