"""Installations that the policy tests look at: each topology small and with everything, and the examples."""

import functools
from typing import Any

from tests.helm.charts import BASE, SHARED, Manifest, example, examples, merged, render

_KNOWS: dict[str, Any] = {"config": {"knowledge": {}}}
_WATCHED: dict[str, Any] = {
    "secrets": {"metricsToken": {"name": "scrapers"}},
    "monitoring": {
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}
_EXPOSED: dict[str, Any] = {
    "ingress": {"enabled": True, "hosts": ["llm.example.org"]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    "networkPolicy": {"clients": {"namespaces": ["ingress-nginx"]}},
}
_SYNCED: dict[str, Any] = {
    "secrets": {"adminKey": {"name": "admin"}},
    "adapterSync": {"enabled": True, "adapters": [{"name": "triage", "source": "s3://models/adapters/triage"}]},
}
_BUNDLED: dict[str, Any] = {
    "postgresql": {"bundled": {"enabled": True}},
    "objectStore": {"url": "s3://models/loraplex", "existingSecret": {"name": "s3"}},
    "milvus": {"mode": "standalone"},
}
_TRAINED: dict[str, Any] = {
    "config": {"training": {"folder": "/var/lib/loraplex/shared/jobs"}},
    "storage": {"control": {"enabled": True}},
    "extraVolumes": [{"name": "jobs", "persistentVolumeClaim": {"claimName": "jobs"}}],
    "extraVolumeMounts": [{"name": "jobs", "mountPath": "/var/lib/loraplex/shared"}],
}
_EVERYTHING = merged(BASE, _KNOWS, _WATCHED, _EXPOSED, _SYNCED, _TRAINED)
_PODS: dict[str, Any] = {"monitoring": {"podMonitor": {"enabled": True}}}
_SERVICE: dict[str, Any] = {"monitoring": {"serviceMonitor": {"enabled": True}}}

WORLDS: dict[str, dict[str, Any]] = {
    "standalone": merged(BASE, {"topology": "standalone"}),
    "standalone-everything": merged(_EVERYTHING, _PODS, {"topology": "standalone", "milvus": {"mode": "standalone"}}),
    "deployment": merged(BASE, SHARED),
    "deployment-everything": merged(_EVERYTHING, _PODS, _BUNDLED, {"gateway": {"replicas": 3}}),
    "deployment-keda": merged(_EVERYTHING, SHARED, _SERVICE, {"autoscaling": {"type": "keda"}}),
    "deployment-hpa": merged(_EVERYTHING, SHARED, _PODS, {"autoscaling": {"type": "hpa"}}),
    "rayservice": merged(BASE, SHARED, {"topology": "rayservice"}),
    "rayservice-everything": merged(
        _EVERYTHING,
        _SERVICE,
        _BUNDLED,
        {
            "topology": "rayservice",
            "ray": {
                "autoscaler": {"enabled": True},
                "serveAutoscaling": {"enabled": True},
                "workers": [{"name": "gpu", "replicas": 3, "minReplicas": 2, "maxReplicas": 4}],
            },
        },
    ),
}
"""Values by name."""


def names() -> list[str]:
    """Every world, the examples included."""
    return [*WORLDS, *(f"example-{name}" for name in examples())]


def values(name: str) -> dict[str, Any]:
    """The values of a world."""
    return example(name.removeprefix("example-")) if name.startswith("example-") else WORLDS[name]


@functools.cache
def world(name: str) -> list[Manifest]:
    """What the chart makes of it; rendered and read once per session, so it must not be changed."""
    return render(values(name))
