"""The gateway's configuration that the chart renders is one that the gateway takes."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.config import GatewayConfig, load_config
from tests.helm import worlds
from tests.helm.charts import Manifest, merged, of_kind, only, render

with warnings.catch_warnings():
    # What Ray warns of while it is imported is not ours to mend.
    warnings.simplefilter("ignore")
    from ray.serve.schema import ServeDeploySchema

    from serving.kubernetes import parse_arguments

_CONFIG = "trial-loraplex-config"


def mounted(manifests: list[Manifest], folder: Path) -> Path:
    """The ConfigMap as a pod sees it: config.yaml and the files beside it, whose paths start from ``folder``."""
    data = only(manifests, "ConfigMap", _CONFIG)["data"]
    volumes = [
        volume
        for manifest in manifests
        for volume in _volumes(manifest)
        if volume.get("configMap", {}).get("name") == _CONFIG
    ]
    for item in volumes[0]["configMap"]["items"]:
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data[item["key"]].replace("/etc/loraplex", str(folder)), encoding="utf-8")
    return folder / "config.yaml"


def _volumes(manifest: Manifest) -> list[Manifest]:
    if manifest["kind"] == "RayService":
        head: list[Manifest] = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["volumes"]
        return head
    if manifest["kind"] in ("Deployment", "StatefulSet"):
        found: list[Manifest] = manifest["spec"]["template"]["spec"]["volumes"]
        return found
    return []


def configuration(values: dict[str, Any], folder: Path) -> GatewayConfig:
    """What a pod's gateway reads."""
    return load_config(mounted(render(values), folder))


@pytest.mark.parametrize("name", worlds.names())
def test_the_configuration_is_valid(name: str, tmp_path: Path) -> None:
    config = configuration(worlds.values(name), tmp_path)

    assert config.server.host == "0.0.0.0"  # noqa: S104
    assert config.authentication_required


@pytest.mark.parametrize("name", [name for name in worlds.names() if "rayservice" in name or "several" in name])
def test_serve_gets_the_same_configuration_and_the_number_of_gateways_beside_it(name: str, tmp_path: Path) -> None:
    values = worlds.values(name)
    manifests = render(values)
    serve = yaml.safe_load(only(manifests, "RayService")["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(serve)
    (application,) = serve["applications"]
    (gateway,) = application["deployments"]

    assert application["import_path"] == "serving.kubernetes:build"
    given = parse_arguments(application["args"]).gateway_config()
    assert given == load_config(mounted(manifests, tmp_path))
    assert "replicas" not in application["args"]["config"]
    assert gateway["name"] == "Gateway"
    assert ("num_replicas" in gateway) != ("autoscaling_config" in gateway)
    assert serve["http_options"]["port"] == application["args"]["config"].get("server", {}).get("port", 8000)


def test_another_number_of_gateways_changes_nothing_that_serve_restarts_them_for() -> None:
    def rendered(replicas: int) -> dict[str, Any]:
        workers = [{"name": "gpu", "replicas": 5, "minReplicas": 1, "maxReplicas": 5}]
        values = merged(worlds.WORLDS["rayservice"], {"gateway": {"replicas": replicas}, "ray": {"workers": workers}})
        spec = only(render(values), "RayService")["spec"]
        serve = yaml.safe_load(spec.pop("serveConfigV2"))
        (gateway,) = serve["applications"][0].pop("deployments")
        assert gateway["num_replicas"] == replicas
        return {"spec": spec, "serve": serve}

    assert rendered(1) == rendered(5)


def test_a_change_of_the_configuration_rolls_serves_replicas_and_leaves_rays_pods() -> None:
    plain = only(render(worlds.WORLDS["rayservice"]), "RayService")["spec"]
    changed = only(render(merged(worlds.WORLDS["rayservice"], {"config": {"adapters": {"slots": 8}}})), "RayService")

    assert changed["spec"]["rayClusterConfig"] == plain["rayClusterConfig"]
    assert changed["spec"]["serveConfigV2"] != plain["serveConfigV2"]


def test_a_change_of_the_configuration_rolls_the_pods_of_a_deployment() -> None:
    def checksums(values: dict[str, Any]) -> list[str]:
        return [
            manifest["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for manifest in of_kind(render(values), "Deployment")
        ]

    base = worlds.WORLDS["deployment"]
    config = merged(base, {"config": {"adapters": {"slots": 8}}})
    files = merged(base, {"configFiles": {"schemas/reply.json": "{}"}})
    more = merged(base, {"gateway": {"replicas": 4}})

    assert not set(checksums(base)) & set(checksums(config))
    assert not set(checksums(base)) & set(checksums(files))
    assert checksums(base) == checksums(more)


@pytest.mark.parametrize(
    ("mode", "values", "uri"),
    [
        ("embedded", {}, "/var/lib/loraplex/knowledge/milvus.db"),
        ("standalone", {}, "http://trial-loraplex-milvus:19530"),
        ("cluster", {"cluster": {"service": "milvus", "namespace": "data"}}, "http://milvus.data.svc:19530"),
        ("external", {"uri": "https://milvus.example.internal:443"}, "https://milvus.example.internal:443"),
    ],
)
def test_the_index_is_where_milvus_says(mode: str, values: dict[str, Any], uri: str, tmp_path: Path) -> None:
    milvus = {"milvus": {"mode": mode, **values}, "config": {"knowledge": {}}}
    config = configuration(merged(worlds.WORLDS["deployment"], milvus), tmp_path)

    assert config.knowledge is not None
    assert config.knowledge.index.uri == uri


def test_paths_that_the_configuration_names_stay(tmp_path: Path) -> None:
    own = {"config": {"adapters": {"cache_dir": "/fast/adapters"}, "life": {"folder": "/fast/life"}}}
    config = configuration(merged(worlds.WORLDS["standalone"], own), tmp_path)

    assert str(config.adapters.cache_dir) == "/fast/adapters"
    assert str(config.life.folder) == "/fast/life"
    assert str(config.logging.audit.file) == "/var/lib/loraplex/audit.jsonl"


def test_gateways_know_where_control_and_knowledge_are() -> None:
    data = only(render(worlds.WORLDS["deployment-everything"]), "ConfigMap", _CONFIG)["data"]

    assert yaml.safe_load(data["config.yaml"])["services"] == {
        "control": {"url": "http://trial-loraplex-control:8000"},
        "knowledge": {"url": "http://trial-loraplex-knowledge:8000"},
    }


def test_numbers_and_texts_come_through_as_they_were_written(tmp_path: Path) -> None:
    values = merged(
        worlds.WORLDS["standalone"],
        {
            "config": {
                "adapters": {"cache_bytes": 987654321987, "max_bytes": 10**9, "sync_interval_s": 0.125},
                "engine": {"env": {"A": "1e3", "B": "off", "C": "0o17", "D": "2024-01-01", "E": "null", "F": " "}},
                "tasks": {"t": {"system_prompt": "Line one: “a” <b> & {{ c }}\n\n  two\n"}},
            }
        },
    )
    config = configuration(values, tmp_path)

    assert config.adapters.cache_bytes == 987654321987
    assert config.adapters.sync_interval_s == 0.125
    assert config.engine.kind == "vllm"
    assert config.engine.env == {"A": "1e3", "B": "off", "C": "0o17", "D": "2024-01-01", "E": "null", "F": " "}
    assert config.tasks["t"].system_prompt == "Line one: “a” <b> & {{ c }}\n\n  two\n"


def test_a_json_schema_in_a_file_keeps_the_order_of_its_properties(tmp_path: Path) -> None:
    config = configuration(worlds.values("example-one-gpu"), tmp_path)
    contract = config.tasks["support-triage"].output

    assert contract is not None
    assert contract.json_schema is not None
    assert list(contract.json_schema["properties"]) == ["reason", "queue", "urgent"]
