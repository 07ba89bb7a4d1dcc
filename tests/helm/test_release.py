"""The commands, environments and probes of a rendered release, started as processes over a real PostgreSQL.

Each pod has an address of the loopback network for its own, as in a cluster all listen on the same port.
"""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from tests.helm import worlds
from tests.helm.charts import ROOT, Manifest, merged, only, pod_templates, render
from tests.postgres_server import PASSWORD, USER, PostgresServer

_KEY = "lpx-of-the-release"
_BOUND_S = 60.0
_PROGRAM = [sys.executable, "-c", "from serving.cli.main import main; main()"]
_GATEWAY, _CONTROL = "127.0.0.11", "127.0.0.12"


def _values(port: int) -> dict[str, Any]:
    hashed = f"sha256:{hashlib.sha256(_KEY.encode()).hexdigest()}"
    return merged(
        worlds.WORLDS["deployment"],
        {
            "config": {
                "engine": {"kind": "fake"},
                "server": {"port": port},
                "api_keys": [{"name": "ops", "hash": hashed, "admin": True}],
                "artifacts": {"url": "/var/lib/loraplex/shared"},
            },
            "postgresql": {"url": "", "bundled": {"enabled": True}},
            "objectStore": {"url": ""},
            "secrets": {"adminKey": {"name": "admin"}},
        },
    )


class Release:
    """A release's containers as processes. ``folder`` is the root of their volumes."""

    def __init__(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._manifests = render(_values(self.port))
        self._pods = dict(pod_templates(self._manifests))
        self._database = make_url(database)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def container(self, label: str) -> Manifest:
        """The one container of a pod."""
        (found,) = self._pods[label]["spec"]["containers"]
        return dict(found)

    def start(self, label: str, address: str = "127.0.0.1") -> subprocess.Popen[bytes]:
        """Start a pod's container at ``address``."""
        container = self.container(label)
        mounted = self._mounted(address)
        arguments = [self._here(word, address) for word in container["args"]]
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | self._environment(container, label, address)
        with (self._folder / f"{address}.log").open("ab") as log:
            process = subprocess.Popen(
                [*_PROGRAM, *arguments], cwd=mounted, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._running[label] = process
        return process

    def wait_until(self, label: str, address: str, probe: str) -> None:
        """Wait until a probe of the pod's container succeeds."""
        path = self.container(label)[f"{probe}Probe"]["httpGet"]["path"]
        deadline = time.monotonic() + _BOUND_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://{address}:{self.port}{path}", timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running[label].wait(0.1)
                raise AssertionError(self.log(address))
        raise AssertionError(f"{label} did not become {probe} in {_BOUND_S} s:\n{self.log(address)}")

    def log(self, address: str) -> str:
        """What the process at ``address`` wrote."""
        return (self._folder / f"{address}.log").read_text(errors="replace")

    def stop(self) -> dict[str, subprocess.Popen[bytes]]:
        """Tell what still runs to stop, and wait for it. Gives the processes by label."""
        stopped = {label: process for label, process in self._running.items() if process.poll() is None}
        for process in stopped.values():
            process.send_signal(signal.SIGTERM)
        for process in stopped.values():
            process.wait(_BOUND_S)
        return stopped

    def _mounted(self, address: str) -> Path:
        folder = self._folder / address
        for name in ("etc", "data", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        text = only(self._manifests, "ConfigMap", "trial-loraplex-config")["data"]["config.yaml"]
        (folder / "etc" / "config.yaml").write_text(self._here(text, address))
        return folder / "data"

    def _here(self, text: str, address: str) -> str:
        """What is in the cluster elsewhere, here."""
        folder = self._folder / address
        port, name = self._database.port, self._database.database
        for there, here in (
            ("/var/lib/loraplex/shared", str(self._folder / "shared")),
            ("/var/lib/loraplex", str(folder / "data")),
            ("/etc/loraplex", str(folder / "etc")),
            ("@trial-loraplex-postgresql:5432/loraplex", f"@127.0.0.1:{port}/{name}"),
            ("trial-loraplex-control", _CONTROL),
            ("//trial-loraplex:80", f"//{_GATEWAY}:{self.port}"),
            ("0.0.0.0", address),  # noqa: S104
        ):
            text = text.replace(there, here)
        return text

    def _environment(self, container: Manifest, label: str, address: str) -> dict[str, str]:
        secrets = {"postgresql-password": PASSWORD, "service-token": "between-us", "api-key": _KEY}
        fields = {"status.podIP": address, "metadata.name": label.rpartition("/")[2] + "-0"}
        found = {"TMPDIR": str(self._folder / address / "tmp")}
        for entry in container["env"]:
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                found[entry["name"]] = secrets[source["secretKeyRef"]["key"]]
            elif "fieldRef" in source:
                found[entry["name"]] = fields[source["fieldRef"]["fieldPath"]]
            else:
                found[entry["name"]] = self._here(entry["value"], address)
        return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Release]:
    """A release whose hook has run, and whose control and gateway are ready."""
    url = postgres_server.new_database()
    assert make_url(url).username == USER == "loraplex"
    it = Release(tmp_path_factory.mktemp("release"), url)
    try:
        migrating = it.start("Job/trial-loraplex-migrations")
        assert migrating.wait(_BOUND_S) == 0, it.log("127.0.0.1")
        for label, address in (("control", _CONTROL), ("gateway", _GATEWAY)):
            it.start(f"Deployment/trial-loraplex-{label}", address)
            it.wait_until(f"Deployment/trial-loraplex-{label}", address, "startup")
        yield it
    finally:
        it.stop()


def test_the_gateways_pod_answers_a_real_request(release: Release) -> None:
    headers = {"Authorization": f"Bearer {_KEY}"}
    body = {"model": "Qwen3-8B", "messages": [{"role": "user", "content": "Good morning"}], "stream": False}
    url = f"http://{_GATEWAY}:{release.port}/v1/chat/completions"

    answer = httpx.post(url, headers=headers, json=body, timeout=30)

    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    assert httpx.post(url, json=body).status_code == 401


def test_the_gateways_pod_finds_the_controls_pod(release: Release) -> None:
    url = f"http://{_GATEWAY}:{release.port}/admin/v1/adapters"

    assert httpx.get(url, headers={"Authorization": f"Bearer {_KEY}"}).status_code == 200


def test_the_pods_probes_succeed_without_a_key(release: Release) -> None:
    for label, address in (("control", _CONTROL), ("gateway", _GATEWAY)):
        for probe in ("readiness", "liveness"):
            release.wait_until(f"Deployment/trial-loraplex-{label}", address, probe)


def test_the_pod_of_helm_test_is_satisfied(release: Release) -> None:
    asking = release.start("Pod/trial-loraplex-test", "127.0.0.13")

    assert asking.wait(_BOUND_S) == 0, release.log("127.0.0.13")


def test_pods_that_are_told_to_stop_end_well_within_their_grace(release: Release) -> None:
    # The last test: it ends the release.
    stopped = {label: process.returncode for label, process in release.stop().items()}

    assert stopped == {"Deployment/trial-loraplex-control": 0, "Deployment/trial-loraplex-gateway": 0}
