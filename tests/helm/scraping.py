"""A rendered PodMonitor or ServiceMonitor as the operator would hand it to Prometheus."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.helm.charts import Manifest

_NAMES = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
ADDRESS = "__address__"


def endpoint(monitor: Manifest) -> dict[str, Any]:
    """The one endpoint of a monitor."""
    spec = monitor["spec"]
    (found,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
    return dict(found)


def scrape_config(
    name: str, monitor: Manifest, pods: Sequence[Mapping[str, str]], *, interval: str = "1h", token: str | None = None
) -> dict[str, Any]:
    """A job of Prometheus' configuration.

    Args:
        pods: what is discovered: the address of each, and its labels.
        token: what is in the Secret that the monitor names.
    """
    scrape = endpoint(monitor)
    labels = [{key: text for key, text in pod.items() if key != ADDRESS} for pod in pods]
    config = {
        "job_name": name,
        "metrics_path": scrape["path"],
        "scrape_interval": interval,
        "static_configs": [{"targets": [pod[ADDRESS]], "labels": one} for pod, one in zip(pods, labels, strict=True)],
        "relabel_configs": [{_NAMES.get(key, key): one for key, one in rule.items()} for rule in scrape["relabelings"]],
    }
    if "params" in scrape:
        config["params"] = scrape["params"]
    if token is not None:
        assert scrape["authorization"]["credentials"].keys() == {"name", "key"}
        config["authorization"] = {"credentials": token}
    return config
