"""Serve configurations, as KubeRay hands them to Ray: made of a gateway's configuration, or taken out of a chart.

A rendered one names places that only its cluster has: the database, the bucket, the volumes. :func:`localise` puts
places of this machine in their stead and says what it replaced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

IMPORT_PATH = "serving.kubernetes:build"
APPLICATION, GATEWAY = "loraplex", "Gateway"
_HEAD_KEYS = ("autoscaling_config", "num_replicas")


class NoServeConfig(Exception):
    """A rendered chart holds no Serve configuration of ours, or not the file that it names."""


@dataclass(slots=True)
class ServeFile:
    """One Serve configuration, and the gateway's configuration that it names."""

    document: dict[str, Any]
    """What ``serve deploy`` reads."""
    config: dict[str, Any]
    """The gateway's configuration."""
    inline: bool = False
    """Whether the first holds the second; otherwise it names a file."""
    replaced: list[str] = field(default_factory=list)
    """What was changed for this machine: one line for each setting."""

    def write(self, folder: Path, *, revision: str, environment: Mapping[str, str] | None = None) -> Path:
        """Write both below ``folder``; returns the file for ``serve deploy``.

        ``revision``: replicas are replaced where it changes. ``environment``: of the application's processes.
        """
        named = folder / "config.yaml"
        named.write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")
        application = self.application()
        given = {"config": self.config} if self.inline else {"config_file": str(named)}
        application["args"] = {**given, "revision": revision}
        if environment:
            application["runtime_env"] = {"env_vars": dict(environment)}
        path = folder / "serve.yaml"
        path.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")
        return path

    def application(self) -> dict[str, Any]:
        """The one application."""
        applications: list[dict[str, Any]] = self.document["applications"]
        return next(item for item in applications if item["name"] == APPLICATION)

    def gateway(self) -> dict[str, Any]:
        """The options of the deployment that answers."""
        deployments: list[dict[str, Any]] = self.application().setdefault("deployments", [])
        for item in deployments:
            if item["name"] == GATEWAY:
                return item
        deployments.append({"name": GATEWAY})
        return deployments[-1]

    def set_replicas(self, count: int) -> None:
        """A fixed number of gateways."""
        self._scale("num_replicas", count)

    def set_autoscaling(self, **settings: Any) -> None:
        """Gateways between ``min_replicas`` and ``max_replicas``; what the file says already stays where not given."""
        self._scale("autoscaling_config", {**self.gateway().get("autoscaling_config", {}), **settings})

    def _scale(self, key: str, value: object) -> None:
        gateway = self.gateway()
        for old in _HEAD_KEYS:
            gateway.pop(old, None)
        gateway[key] = value


def own(config: Mapping[str, Any]) -> ServeFile:
    """The Serve configuration of ``config`` without a chart, for this machine."""
    server = config["server"]
    document = {
        "proxy_location": "EveryNode",
        "http_options": {"host": server["host"], "port": server["port"]},
        "applications": [{"name": APPLICATION, "route_prefix": "/", "import_path": IMPORT_PATH, "deployments": []}],
    }
    return ServeFile(document, dict(config))


def rendered(text: str) -> ServeFile:
    """The Serve configuration in the output of ``helm template``. Raises NoServeConfig."""
    documents = [item for item in yaml.safe_load_all(text) if isinstance(item, dict)]
    services = [item for item in documents if item.get("kind") == "RayService"]
    if not services:
        raise NoServeConfig("there is no RayService in it; render the chart with topology: rayservice")
    document = yaml.safe_load(services[0]["spec"]["serveConfigV2"])
    arguments = next((item.get("args", {}) for item in document["applications"] if item["name"] == APPLICATION), None)
    if arguments is None:
        raise NoServeConfig(f"its serveConfigV2 has no application named {APPLICATION}")
    if "config" in arguments:
        return ServeFile(document, dict(arguments["config"]), inline=True)
    return ServeFile(document, _config_map_file(documents, str(arguments.get("config_file"))))


def _config_map_file(documents: list[dict[str, Any]], path: str) -> dict[str, Any]:
    name = Path(path).name
    for item in documents:
        hook = "helm.sh/hook" in (item["metadata"].get("annotations") or {})
        if item.get("kind") == "ConfigMap" and name in (item.get("data") or {}) and not hook:
            config: dict[str, Any] = yaml.safe_load(item["data"][name])
            return config
    raise NoServeConfig(f"no ConfigMap holds the file {path} that its serveConfigV2 names")


def localise(file: ServeFile, places: Mapping[str, Any]) -> None:
    """Put ``places`` (setting's path → value, None to leave it out) into the configuration, and loopback into Serve.

    What differs is noted in ``file.replaced``. Serve's resources are made small: this machine has no GPU, and fewer
    cores than replicas.
    """
    for path, value in places.items():
        old = _exchange(file.config, path.split("."), value)
        if old != value:
            file.replaced.append(f"{path}: {_short(old)} -> {_short(value)}")
    options = file.document.setdefault("http_options", {})
    server = file.config["server"]
    for key in ("host", "port"):
        if options.get(key) != server[key]:
            file.replaced.append(f"http_options.{key}: {_short(options.get(key))} -> {server[key]}")
            options[key] = server[key]
    for deployment in file.application().get("deployments", []):
        if "ray_actor_options" in deployment:
            dropped = deployment.pop("ray_actor_options")
            file.replaced.append(f"{deployment['name']}.ray_actor_options: {_short(dropped)} -> left out")


def _exchange(config: dict[str, Any], keys: list[str], value: Any) -> Any:
    """Set a value, or take it out where it is None; returns the old one."""
    *parents, last = keys
    for key in parents:
        if key not in config and value is None:
            return None
        config = config.setdefault(key, {})
    old = config.get(last)
    if value is None:
        config.pop(last, None)
    else:
        config[last] = value
    return old


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def trigger_queries(text: str) -> Iterator[tuple[str, str, float]]:
    """Each Prometheus trigger of the ScaledObjects in a rendered chart: its name, its expression and its threshold."""
    for item in yaml.safe_load_all(text):
        if not isinstance(item, dict) or item.get("kind") != "ScaledObject":
            continue
        for number, trigger in enumerate(item["spec"]["triggers"]):
            if trigger.get("type") == "prometheus":
                metadata = trigger["metadata"]
                name = trigger.get("name") or metadata.get("metricName") or f"trigger {number}"
                yield str(name), str(metadata["query"]), float(metadata["threshold"])
