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
import yaml
from sqlalchemy import make_url

from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.helm import worlds
from tests.helm.charts import NAMESPACE, ROOT, Manifest, merged, of_kind, only, pod_templates, render
from tests.helm.scraping import ADDRESS, scrape_config
from tests.lifecycle import until
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.prometheus_host import running

_KEY = "lpx-of-the-release"
_SCRAPER = "of-the-scraper"
_JOB = f"{NAMESPACE}.trial-loraplex"
_BOUND_S = 120.0
_PROGRAM = [sys.executable, "-c", "from serving.cli.main import main; main()"]
_GATEWAY, _CONTROL = "127.0.0.11", "127.0.0.12"
_SECOND = "127.0.0.14"


def _values(port: int, base: Path, adapter: Path) -> dict[str, Any]:
    hashed = f"sha256:{hashlib.sha256(_KEY.encode()).hexdigest()}"
    return merged(
        worlds.WORLDS["deployment"],
        {
            "config": {
                "model": {"id": str(base), "name": "base"},
                "engine": {"kind": "fake", "token_s": 0.02},
                "server": {"port": port},
                "api_keys": [{"name": "ops", "hash": hashed, "admin": True}],
                "artifacts": {"url": "/var/lib/loraplex/shared"},
            },
            "postgresql": {"url": "", "bundled": {"enabled": True}},
            "objectStore": {"url": ""},
            "secrets": {"adminKey": {"name": "admin"}, "metricsToken": {"name": "scrapers"}},
            "monitoring": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
            "autoscaling": {"type": "keda"},
            "adapterSync": {
                "enabled": True,
                "promote": True,
                "adapters": [{"name": "triage", "source": str(adapter)}],
            },
        },
    )


class Release:
    """A release's containers as processes. ``folder`` is the root of their volumes."""

    def __init__(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._folder = folder
        base = make_base(folder / BASE_NAME)
        self.manifests = render(_values(self.port, base, make_adapter(folder / "triage", base)))
        self._pods = dict(pod_templates(self.manifests))
        self._database = make_url(database)
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def query_of(self, measure: str) -> str:
        """What the rendered ScaledObject asks Prometheus."""
        (found,) = [one for one in only(self.manifests, "ScaledObject")["spec"]["triggers"] if one["name"] == measure]
        return str(found["metadata"]["query"])

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
        self._running[label, address] = process
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
                self._running[label, address].wait(0.1)
                raise AssertionError(self.log(address))
        raise AssertionError(f"{label} did not become {probe} in {_BOUND_S} s:\n{self.log(address)}")

    def log(self, address: str) -> str:
        """What the process at ``address`` wrote."""
        return (self._folder / f"{address}.log").read_text(errors="replace")

    def stop(self) -> dict[str, subprocess.Popen[bytes]]:
        """Tell what still runs to stop, and wait for it. Gives the processes by label."""
        stopped = {label: process for (label, _), process in self._running.items() if process.poll() is None}
        for process in stopped.values():
            process.send_signal(signal.SIGTERM)
        for process in stopped.values():
            process.wait(_BOUND_S)
        return stopped

    def _mounted(self, address: str) -> Path:
        folder = self._folder / address
        for name in ("etc", "data", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        text = only(self.manifests, "ConfigMap", "trial-loraplex-config")["data"]["config.yaml"]
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
        secrets = {"postgresql-password": PASSWORD, "service-token": "between-us", "api-key": _KEY, "token": _SCRAPER}
        fields = {"status.podIP": address, "metadata.name": f"{label.rpartition('/')[2]}-{address.rpartition('.')[2]}"}
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
    body = {"model": "base", "messages": [{"role": "user", "content": "Good morning"}], "stream": False}
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


def test_adapter_sync_adds_an_adapter_that_the_gateway_then_serves_and_an_unchanged_one_changes_nothing(
    release: Release,
) -> None:
    headers = {"Authorization": f"Bearer {_KEY}"}
    body = {"model": "triage", "messages": [{"role": "user", "content": "Good morning"}]}
    served = []
    for _ in range(2):
        syncing = release.start("CronJob/trial-loraplex-adapter-sync", "127.0.0.15")
        assert syncing.wait(_BOUND_S) == 0, release.log("127.0.0.15")
        url = f"http://{_GATEWAY}:{release.port}/v1/chat/completions"
        answer = httpx.post(url, headers=headers, json=body, timeout=30)
        served.append(answer.headers["x-loraplex-adapter"])

    assert served[0].startswith("triage@")
    assert served[0] == served[1]


def test_a_gateway_that_is_added_holds_its_adapters_before_it_is_ready_and_ends_its_streams_before_it_goes(
    release: Release,
) -> None:
    label, headers = "Deployment/trial-loraplex-gateway", {"Authorization": f"Bearer {_KEY}"}
    assert release.start("CronJob/trial-loraplex-adapter-sync", "127.0.0.15").wait(_BOUND_S) == 0
    added = release.start(label, _SECOND)
    release.wait_until(label, _SECOND, "readiness")
    scraper = {"Authorization": f"Bearer {_SCRAPER}"}
    metrics = httpx.get(f"http://{_SECOND}:{release.port}/metrics?replica=self", headers=scraper).text
    held = [line for line in metrics.splitlines() if line.startswith("loraplex_adapter_resident{")]

    assert any('adapter="triage@' in line and 'status="ready"' in line for line in held), held
    body = {"model": "triage", "messages": [{"role": "user", "content": "word " * 150}], "stream": True}
    url = f"http://{_SECOND}:{release.port}/v1/chat/completions"
    with httpx.stream("POST", url, headers=headers, json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        added.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert first.startswith("data: {")
    assert len(rest) > 100, "it was told to stop early in the stream"
    assert rest[-1] == "data: [DONE]"
    assert added.wait(_BOUND_S) == 0
    assert httpx.get(f"http://{_GATEWAY}:{release.port}/readyz").is_success


def test_the_pod_of_helm_test_is_satisfied(release: Release) -> None:
    asking = release.start("Pod/trial-loraplex-test", "127.0.0.13")

    assert asking.wait(_BOUND_S) == 0, release.log("127.0.0.13")


async def test_prometheus_scrapes_the_pods_as_the_monitor_says_and_knows_what_rules_and_autoscaler_ask(
    release: Release, tmp_path: Path
) -> None:
    part, name = "__meta_kubernetes_pod_label_app_kubernetes_io_component", "__meta_kubernetes_pod_name"
    pods = [
        {ADDRESS: f"{address}:{release.port}", part: label, name: f"{label}-0"}
        for label, address in (("gateway", _GATEWAY), ("control", _CONTROL))
    ]
    monitor = only(release.manifests, "PodMonitor")
    groups = [group for one in of_kind(release.manifests, "PrometheusRule") for group in one["spec"]["groups"]]
    # Some look at days, and are evaluated more seldom than a test can wait.
    groups = [{key: one for key, one in group.items() if key != "interval"} for group in groups]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    config = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": [str(tmp_path / "rules.yaml")],
        "scrape_configs": [scrape_config("pods", monitor, pods, interval="1s", token=_SCRAPER)],
    }
    async with running(tmp_path / "prometheus", config) as server:

        async def scraped() -> bool:
            found = await server.query(f'sum(up{{job="{_JOB}"}})')
            return bool(found) and found[0]["value"][1] == "2"

        await until(scraped, "a scrape of both pods")
        targets = [one["metric"] for one in await server.query(f'up{{job="{_JOB}"}}')]
        (reachable,) = await server.query(f'loraplex_catalog_reachable{{job="{_JOB}"}}')
        wanted = {measure: await server.query(release.query_of(measure)) for measure in ("inFlight", "queue", "ttft")}

        async def evaluated() -> bool:
            return all(rule["health"] != "unknown" for rule in await server.rules())

        await until(evaluated, "the evaluation of every rule")
        rules = await server.rules()

    assert {(one["instance"], one.get("part")) for one in targets} == {("gateway-0", None), ("control-0", "control")}
    assert reachable["metric"]["instance"] == "gateway-0", "each pod tells of itself"
    assert "exported_replica" not in reachable["metric"]
    assert {measure: found[0]["value"][1] for measure, found in wanted.items()} == dict.fromkeys(wanted, "0")
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_nobody_else_reads_the_pods_metrics(release: Release) -> None:
    for address in (_GATEWAY, _CONTROL):
        url = f"http://{address}:{release.port}/metrics"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Authorization": f"Bearer {_SCRAPER}"}).status_code == 200


def test_pods_that_are_told_to_stop_end_well_within_their_grace(release: Release) -> None:
    # The last test: it ends the release.
    stopped = {label: process.returncode for label, process in release.stop().items()}

    assert stopped == {"Deployment/trial-loraplex-control": 0, "Deployment/trial-loraplex-gateway": 0}
