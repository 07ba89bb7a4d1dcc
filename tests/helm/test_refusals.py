"""Values that cannot work are refused before anything is installed, in words that say what to do."""

from typing import Any

import pytest

from tests.helm import worlds
from tests.helm.charts import merged, refusal

_DEPLOYMENT = worlds.WORLDS["deployment"]
_STANDALONE = worlds.WORLDS["standalone"]
_RAY = worlds.WORLDS["rayservice"]

_BY_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"gatway": {}}, "Additional property gatway is not allowed"),
    ({"gateway": {"replica": 2}}, "gateway: Additional property replica is not allowed"),
    ({"gateway": {"replicas": "2"}}, "gateway.replicas: Invalid type. Expected: integer, given: string"),
    ({"gateway": {"replicas": 0}}, "gateway.replicas: Must be greater than or equal to 1"),
    ({"gateway": {"gpus": -1}}, "gateway.gpus: Must be greater than or equal to 0"),
    ({"gateway": {"env": {"A": 1}}}, "gateway.env.A: Invalid type. Expected: string, given: integer"),
    ({"gateway": {"resources": {"limits": None}}}, "gateway.resources: limits is required"),
    ({"gateway": {"resources": {"limits": {"memory": "24 GB"}}}}, "gateway.resources.limits.memory: Does not match"),
    ({"gateway": {"tolerations": [{"effect": "Never"}]}}, "gateway.tolerations.0.effect must be one of"),
    ({"topology": "cluster"}, 'topology must be one of the following: "standalone", "deployment", "rayservice"'),
    ({"image": {"variant": "rocm"}}, 'image.variant must be one of the following: "gpu", "cpu"'),
    ({"image": {"digest": "abc"}}, "image.digest: Does not match pattern"),
    ({"configFiles": {"../key": "x"}}, 'configFiles: Property name of "../key" does not match'),
    ({"configFiles": {"config.yaml": "x"}}, 'Property name of "config.yaml" does not match'),
    ({"secrets": {"env": {"HF_TOKEN": "hf_abc"}}}, "secrets.env.HF_TOKEN: Invalid type. Expected: object"),
    ({"postgresql": {"url": "mysql://db/x"}}, "postgresql.url: Does not match pattern"),
    ({"milvus": {"mode": "lite"}}, "milvus.mode must be one of the following"),
    ({"ray": {"workers": [{"name": "gpu"}]}}, "ray.workers.0: replicas is required"),
    ({"ray": {"workers": []}}, "ray.workers: Array must have at least 1 items"),
    ({"adapterSync": {"schedule": "hourly"}}, "adapterSync.schedule: Does not match pattern"),
    ({"config": {"modle": {}}}, "config: Additional property modle is not allowed"),
    ({"config": {"server": {"prot": 1}}}, "config.server: Additional property prot is not allowed"),
    ({"config": {"server": {"port": 70000}}}, "config.server.port: Must be less than or equal to 65535"),
    # YAML 1.1, which Helm reads, takes a bare `off` for false.
    ({"config": {"server": {"authentication": False}}}, "config.server.authentication: Invalid type. Expected: string"),
    ({"config": {"engine": {"kind": "vlm"}}}, "config.engine.kind must be one of the following"),
    ({"config": {"engine": {"kind": "openai"}}}, "config.engine: url is required"),
    ({"config": {"engine": {"args": 3}}}, "config.engine.args: Invalid type. Expected: object, given: integer"),
    ({"config": {"tasks": {"t": {"adaptr": "a"}}}}, "config.tasks.t: Additional property adaptr is not allowed"),
    ({"config": {"adapters": {"max_rank": 7}}}, "config.adapters.max_rank must be one of the following: 1, 8, 16"),
    ({"config": {"api_keys": [{"name": "a", "hash": "lpx-secret"}]}}, "config.api_keys.0.hash: Does not match pattern"),
    ({"config": {"knowledge": {"embedder": {"url": "x"}}}}, "config.knowledge.embedder.url: Does not match pattern"),
]


@pytest.mark.parametrize(("values", "message"), _BY_SCHEMA, ids=[message for _, message in _BY_SCHEMA])
def test_the_schema_names_the_place_and_what_is_wrong_with_it(values: dict[str, Any], message: str) -> None:
    said = refusal(merged(_DEPLOYMENT, values))

    assert "values don't meet the specifications of the schema" in said
    assert message in said


_BY_CHECK: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (_DEPLOYMENT, {"config": {"api_keys": []}}, "config.api_keys: is empty, so nobody could call the gateway; make a"),
    (_DEPLOYMENT, {"config": {"server": {"host": "::"}}}, "config.server.host: is the chart's own business; remove it"),
    (
        _DEPLOYMENT,
        {"config": {"server": {"drain_timeout_s": 5}}},
        "config.server.drain_timeout_s: is the chart's own business; set gateway.drainSeconds",
    ),
    (_RAY, {"config": {"replicas": 2}}, "config.replicas: is the chart's own business; set gateway.replicas."),
    (
        _RAY,
        {"config": {"gpus_per_replica": 2}},
        "config.gpus_per_replica: is the chart's own business; set gateway.gpus.",
    ),
    (
        _DEPLOYMENT,
        {"config": {"services": {"control": {"url": "http://elsewhere"}}}},
        "config.services: is the chart's own business; remove it",
    ),
    (_DEPLOYMENT, {"config": {"metrics": {"token_env": "T"}}}, "set secrets.metricsToken."),
    (_DEPLOYMENT, {"config": {"knowledge": {"index": {"token_env": "T"}}}}, "set milvus.existingSecret."),
    (
        _DEPLOYMENT,
        {"gateway": {"strategy": {"maxSurge": 0, "maxUnavailable": "0%"}}},
        "gateway.strategy: maxSurge and maxUnavailable are both 0",
    ),
    (_STANDALONE, {"gateway": {"replicas": 2}}, "gateway.replicas: the topology `standalone` is one pod"),
    (
        _DEPLOYMENT,
        {"postgresql": {"url": ""}},
        "postgresql.url: is empty, and the topology `deployment` shares its state",
    ),
    (_DEPLOYMENT, {"postgresql": {"bundled": {"enabled": True}}}, "keep one of the two"),
    (
        _DEPLOYMENT,
        {"config": {"state": {"url": "postgresql+psycopg://db/x"}}},
        "config.state.url: postgresql says where",
    ),
    (
        _DEPLOYMENT,
        {"postgresql": {"url": ""}, "config": {"state": {"url": "sqlite:///x.db"}}},
        "config.state.url: SQLite is for one pod",
    ),
    (_DEPLOYMENT, {"objectStore": {"url": ""}}, "objectStore.url: is empty, and the topology `deployment` shares its"),
    (_DEPLOYMENT, {"config": {"artifacts": {"url": "/shared"}}}, "config.artifacts.url: objectStore.url says where"),
    (
        _DEPLOYMENT,
        {"postgresql": {"url": "postgresql+psycopg://loraplex:hunter2@db/x"}},
        "postgresql.url: holds a password",
    ),
    (_DEPLOYMENT, {"image": {"variant": "cpu"}}, "image.variant: `cpu` does not use GPUs; set gateway.gpus: 0"),
    (_DEPLOYMENT, {"image": {"tag": "latest"}}, "image.tag: `latest` names another image every day"),
    (
        _DEPLOYMENT,
        {"milvus": {"standalone": {"image": {"tag": "latest"}}}},
        "milvus.standalone.image.tag: `latest` names another image every day",
    ),
    (_DEPLOYMENT, {"airGapped": True}, "airGapped: images would still come from public registries"),
    (
        _DEPLOYMENT,
        {"airGapped": True, "imageRegistry": "registry.internal"},
        "config.model.id: `Qwen/Qwen3-8B` is a hub id, and airGapped pods do not reach the hub",
    ),
    (_DEPLOYMENT, {"config": {"model": {"id": "/models/x"}}}, "is below /models, where nothing is mounted"),
    (_DEPLOYMENT, {"milvus": {"mode": "standalone"}}, "milvus.mode: is `standalone`, but the configuration has no"),
    (
        _DEPLOYMENT,
        {"milvus": {"mode": "external"}, "config": {"knowledge": {}}},
        "milvus.uri: is empty; milvus.mode `external` needs the address",
    ),
    (_DEPLOYMENT, {"milvus": {"uri": "http://m:1"}}, "milvus.uri: goes with milvus.mode `external`"),
    (
        _DEPLOYMENT,
        {"milvus": {"mode": "cluster"}, "config": {"knowledge": {}}},
        "milvus.cluster.service: is empty; name the Service",
    ),
    (
        _DEPLOYMENT,
        {"milvus": {"mode": "standalone"}, "config": {"knowledge": {"index": {"uri": "http://m:1"}}}},
        "config.knowledge.index.uri: milvus says where the index lives as well",
    ),
    (_RAY, {"config": {"knowledge": {}}}, "milvus.mode: `embedded` keeps the index on one pod's volume"),
    (
        _DEPLOYMENT,
        {"config": {"knowledge": {}}, "storage": {"knowledge": {"enabled": False}}},
        "storage.knowledge.enabled: the embedded index would be lost with its pod",
    ),
    (
        _RAY,
        {"ray": {"serveAutoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}},
        "ray.serveAutoscaling: minReplicas is more than maxReplicas.",
    ),
    (
        _RAY,
        {"gateway": {"replicas": 2}},
        "gateway.replicas: 2 gateways of gateway.gpus: 1 do not fit on ray.workers, which have room for 1; add nodes",
    ),
    (
        _RAY,
        {
            "gateway": {"gpus": 2},
            "ray": {
                "serveAutoscaling": {"enabled": True, "maxReplicas": 4},
                "autoscaler": {"enabled": True},
                "workers": [
                    {"name": "a", "replicas": 1, "minReplicas": 1, "maxReplicas": 3, "gpus": 3},
                    {"name": "b", "replicas": 0, "minReplicas": 0, "maxReplicas": 9, "gpus": 1},
                ],
            },
        },
        "ray.serveAutoscaling.maxReplicas: 4 gateways of gateway.gpus: 2 do not fit on ray.workers, which have room",
    ),
    (
        _DEPLOYMENT,
        {"adapterSync": {"enabled": True}},
        "secrets.adminKey.name: is empty, and adapterSync calls the admin",
    ),
    (
        _DEPLOYMENT,
        {"adapterSync": {"enabled": True}, "secrets": {"adminKey": {"name": "admin"}}},
        "adapterSync.adapters: is empty; list what is to be followed",
    ),
    (
        _DEPLOYMENT,
        {"config": {"training": {}}},
        "storage.control.enabled: the checkpoints of training jobs would be lost with the control pod; set it to true.",
    ),
    (_RAY, {"config": {"training": {}}}, "config.training.folder: jobs run on any node; name a folder on a volume"),
    (
        _DEPLOYMENT,
        {"config": {"tasks": {"t": {"output": {"json_schema": {"type": "object"}}}}}},
        "config.tasks.t.output.json_schema: Helm would sort its properties",
    ),
]


@pytest.mark.parametrize(("base", "values", "message"), _BY_CHECK, ids=[message for *_, message in _BY_CHECK])
def test_a_combination_that_cannot_work_is_refused_in_one_sentence(
    base: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    said = refusal(merged(base, values))

    assert message in said
    assert "hunter2" not in said
