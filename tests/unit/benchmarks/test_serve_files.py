"""Serve configurations: of our own, and out of a rendered chart."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.serve_files import NoServeConfig, ServeFile, localise, own, rendered, trigger_queries
from serving.config import load_config

_CONFIG: dict[str, Any] = {"server": {"host": "127.0.0.1", "port": 8123}, "model": {"id": "base", "name": "base"}}
_SERVE = {
    "http_options": {"host": "0.0.0.0", "port": 8000},  # noqa: S104
    "applications": [
        {
            "name": "loraplex",
            "route_prefix": "/",
            "import_path": "serving.kubernetes:build",
            "args": {"config_file": "/etc/loraplex/config.yaml", "revision": "abc"},
            "deployments": [{"name": "Gateway", "num_replicas": 4, "ray_actor_options": {"num_gpus": 1}}],
        }
    ],
}


def _chart(serve: dict[str, Any] = _SERVE, *, file: str = "config.yaml") -> str:
    documents: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "metadata": {"annotations": {"helm.sh/hook": "pre-install"}}, "data": {file: "of: hook"}},
        {"kind": "ConfigMap", "metadata": {"name": "gateway"}, "data": {file: yaml.safe_dump(_CONFIG)}},
        {"kind": "RayService", "metadata": {}, "spec": {"serveConfigV2": yaml.safe_dump(serve)}},
    ]
    return yaml.safe_dump_all(documents)


def test_what_is_written_names_the_configuration_beside_it(tmp_path: Path) -> None:
    file = own(_CONFIG)
    file.set_replicas(2)

    written = yaml.safe_load(file.write(tmp_path, revision="7", environment={"PYTHONPATH": "code"}).read_text())

    (application,) = written["applications"]
    assert application["deployments"] == [{"name": "Gateway", "num_replicas": 2}]
    assert application["runtime_env"] == {"env_vars": {"PYTHONPATH": "code"}}
    assert written["http_options"] == {"host": "127.0.0.1", "port": 8123}
    assert application["args"]["revision"] == "7"
    assert load_config(Path(application["args"]["config_file"])).server.port == 8123


def test_the_chart_s_serve_configuration_comes_with_the_file_that_it_names() -> None:
    file = rendered(_chart())

    assert file.config == _CONFIG
    assert file.gateway()["num_replicas"] == 4


def test_a_serve_configuration_may_hold_the_gateway_s_itself(tmp_path: Path) -> None:
    serve = yaml.safe_load(yaml.safe_dump(_SERVE))
    serve["applications"][0]["args"] = {"config": _CONFIG}

    file = rendered(_chart(serve))
    written = yaml.safe_load(file.write(tmp_path, revision="7").read_text())

    assert file.config == _CONFIG
    assert written["applications"][0]["args"] == {"config": _CONFIG, "revision": "7"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Deployment\nmetadata: {}\n", "there is no RayService in it"),
        (_chart(file="other.yaml"), "no ConfigMap holds the file /etc/loraplex/config.yaml"),
        (_chart({**_SERVE, "applications": [{"name": "other"}]}), "no application named loraplex"),
    ],
)
def test_a_chart_without_one_is_refused(text: str, said: str) -> None:
    with pytest.raises(NoServeConfig, match=said):
        rendered(text)


def test_a_number_of_replicas_and_autoscaling_exclude_each_other() -> None:
    file = ServeFile(yaml.safe_load(yaml.safe_dump(_SERVE)), dict(_CONFIG))

    file.set_autoscaling(min_replicas=1, max_replicas=3)
    assert file.gateway()["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 3}
    assert "num_replicas" not in file.gateway()

    file.set_replicas(1)
    assert "autoscaling_config" not in file.gateway()


def test_places_of_a_cluster_are_replaced_and_named() -> None:
    file = rendered(_chart())
    file.config["state"] = {"url": "postgresql+psycopg://db/loraplex"}

    localise(file, {"server.port": 8123, "state.url": "sqlite:///state.db", "api_keys": None, "knowledge.milvus": None})

    assert file.config["state"] == {"url": "sqlite:///state.db"}
    assert "knowledge" not in file.config
    assert "ray_actor_options" not in file.gateway()
    assert file.replaced == [
        "state.url: postgresql+psycopg://db/loraplex -> sqlite:///state.db",
        "http_options.host: 0.0.0.0 -> 127.0.0.1",
        "http_options.port: 8000 -> 8123",
        "Gateway.ray_actor_options: {'num_gpus': 1} -> left out",
    ]


def test_scaling_expressions_are_found_in_a_chart() -> None:
    scaled = {
        "kind": "ScaledObject",
        "spec": {
            "triggers": [
                {"type": "prometheus", "name": "queue", "metadata": {"query": "sum(x)", "threshold": "4"}},
                {"type": "cpu", "metadata": {"value": "80"}},
            ]
        },
    }

    assert list(trigger_queries(yaml.safe_dump_all([scaled, None]))) == [("queue", "sum(x)", 4.0)]
