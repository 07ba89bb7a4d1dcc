"""As much of a Kubernetes API server as `helm install --dry-run` asks for."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_NAMESPACED = {
    "v1": ["ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment", "StatefulSet"],
    "batch/v1": ["CronJob", "Job"],
    "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
    "monitoring.coreos.com/v1": ["PodMonitor", "PrometheusRule", "ServiceMonitor"],
    "ray.io/v1": ["RayService"],
}
_PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


def _resources(version: str) -> dict[str, Any]:
    kinds = [
        {"name": _PLURALS.get(kind, f"{kind.lower()}s"), "kind": kind, "namespaced": True, "verbs": ["get", "list"]}
        for kind in _NAMESPACED[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": kinds}


def _discovery() -> dict[str, Any]:
    """Answers by path."""
    groups = []
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": _resources("v1"),
        # Where Helm keeps its releases: there is none.
        "/api/v1/namespaces/models/secrets": {"kind": "SecretList", "apiVersion": "v1", "items": []},
    }
    for version in _NAMESPACED:
        if "/" in version:
            name, _, short = version.partition("/")
            served = {"groupVersion": version, "version": short}
            groups.append({"name": name, "versions": [served], "preferredVersion": served})
            answers[f"/apis/{version}"] = _resources(version)
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return answers


@contextmanager
def api_server(folder: Path, objects: dict[str, Any] | None = None) -> Iterator[Path]:
    """Serve on loopback until the block ends. Gives a kubeconfig, written to ``folder``.

    Args:
        objects: further answers, by path, such as `/api/v1/namespaces/models/secrets/NAME`.
    """
    answers = _discovery() | (objects or {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            body = json.dumps(found if found is not None else _NOT_FOUND).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the parent's name)
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield _kubeconfig(folder, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": url}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}],
                "users": [{"name": "nobody", "user": {}}],
                "current-context": "here",
            }
        ),
        encoding="utf-8",
    )
    return path
