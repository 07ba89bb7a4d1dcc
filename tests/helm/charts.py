"""Renders the chart with the real helm, and validates what it renders with the real schemas."""

import copy
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "loraplex"
EXAMPLES = ROOT / "helm" / "examples"
CRDS = ROOT.parent / "shared" / "crds"
KUBERNETES = "1.33"
RELEASE, NAMESPACE = "trial", "models"

Manifest = dict[str, Any]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

KEY = "sha256:" + "7a" * 32
BASE: dict[str, Any] = {"config": {"api_keys": [{"name": "ops", "hash": KEY, "admin": True}]}}
"""What every installation must say: who may call."""

SHARED: dict[str, Any] = {
    "postgresql": {"url": "postgresql+psycopg://loraplex@db.example.internal:5432/loraplex"},
    "objectStore": {"url": "s3://models/loraplex"},
}
"""What installations of several pods must say as well."""


def load_all(text: str) -> list[Any]:
    """The documents of a YAML text; by libyaml, which reads the large ones ten times as fast."""
    return list(yaml.load_all(text, Loader=_Loader))


def helm() -> str:
    """The helm program. Skips the test where there is none."""
    beside = Path(sys.executable).with_name("helm")
    found = str(beside) if beside.exists() else shutil.which("helm")
    if found is None:
        pytest.skip("there is no helm on this machine")
    return found


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One helm command, without a cluster and without a home."""
    environment = {**os.environ, "KUBECONFIG": "/nonexistent", "HELM_DEBUG": "false"}
    return subprocess.run(
        [helm(), *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=environment
    )


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers over earlier ones, map by map, as helm does it."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), dict):
                result[key] = merged(result[key], value)
            else:
                result[key] = copy.deepcopy(value)
    return result


def example(name: str) -> dict[str, Any]:
    """The values of one of helm/examples."""
    values: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def examples() -> list[str]:
    """The names of helm/examples."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


@functools.cache
def _template(values: str, arguments: tuple[str, ...], release: str) -> subprocess.CompletedProcess[str]:
    command = [helm(), "template", release, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    command += [*(() if "--kube-version" in arguments else ("--kube-version", KUBERNETES)), *arguments]
    environment = {**os.environ, "KUBECONFIG": "/nonexistent"}
    return subprocess.run(
        command, input=values, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def render(values: Mapping[str, Any], *arguments: str, release: str = RELEASE) -> list[Manifest]:
    """The objects that `helm template` makes of ``values`` over the chart's own; rendered once per session."""
    manifests: list[Manifest] = pickle.loads(_rendered(json.dumps(values, sort_keys=True), arguments, release))  # noqa: S301
    return manifests


@functools.cache
def _rendered(values: str, arguments: tuple[str, ...], release: str) -> bytes:
    """Pickled, so that every caller has objects of its own for a fraction of what reading the YAML takes."""
    done = _template(values, arguments, release)
    assert done.returncode == 0, done.stderr
    return pickle.dumps([manifest for manifest in load_all(done.stdout) if manifest is not None])


def refusal(values: Mapping[str, Any], *arguments: str) -> str:
    """What helm says where it refuses ``values``; the test fails where it does not."""
    done = _template(json.dumps(values, sort_keys=True), arguments, RELEASE)
    assert done.returncode != 0, "the chart took these values"
    return done.stderr


def only(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of ``kind``, and of ``name`` where given."""
    found = [
        manifest for manifest in manifests if manifest["kind"] == kind and name in (None, manifest["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}: {[item['metadata']['name'] for item in found]}"
    return found[0]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """All objects of ``kind``."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod that the objects lead to: a label such as `Deployment/trial-gateway`, and its metadata and spec."""
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        label = f"{kind}/{manifest['metadata']['name']}"
        if kind == "Pod":
            yield label, {"metadata": manifest["metadata"], "spec": spec}
        elif kind in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield label, spec["template"]
        elif kind == "CronJob":
            yield label, spec["jobTemplate"]["spec"]["template"]
        elif kind == "RayService":
            cluster = spec["rayClusterConfig"]
            yield f"{label}/head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield f"{label}/{group['groupName']}", group["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod template, those of its start first."""
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def validate(manifests: list[Manifest], version: str = KUBERNETES) -> None:
    """Fails where an object does not fit Kubernetes' schemas, strictly, or the CRDs of ../shared."""
    for manifest in manifests:
        label = f"{manifest['kind']}/{manifest['metadata']['name']}"
        group = manifest["apiVersion"].rpartition("/")[0]
        if "." in group and not group.endswith("k8s.io"):
            problems = [
                f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
                for error in crd_validator(manifest["apiVersion"], manifest["kind"]).iter_errors(manifest)
            ]
            assert not problems, f"{label}: {problems}"
        elif group == "gateway.networking.k8s.io":
            continue  # kubernetes-validate has the core kinds only
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


@functools.cache
def crd_validator(api_version: str, kind: str) -> Draft202012Validator:
    """A strict JSON Schema made of a CRD's structural schema. Skips the test where ../shared is absent."""
    if not CRDS.is_dir():
        pytest.skip("the CRDs are not on this machine (../shared/crds)")
    group, _, version = api_version.partition("/")
    for path in sorted(CRDS.glob("*.yaml")):
        for definition in load_all(path.read_text(encoding="utf-8")):
            spec = definition["spec"]
            if spec["group"] == group and spec["names"]["kind"] == kind:
                (served,) = [item for item in spec["versions"] if item["name"] == version]
                schema = _strict(served["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                return Draft202012Validator(schema)
    raise AssertionError(f"there is no CRD of {api_version} {kind} in {CRDS}")


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Closed to unknown fields, as `kubectl apply` with strict validation is."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in schema:
        result["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            result["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        result["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _strict(schema["additionalProperties"])
    if schema.get("nullable"):
        result = {"anyOf": [{"type": "null"}, result]}
    return result
