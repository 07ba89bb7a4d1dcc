"""A Ray head of the product's on this machine, and Serve configurations deployed to it as KubeRay does: by its API."""

import asyncio
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fleet import Fleet, Server, ServerFailed, free_port, say
from benchmarks.serve_files import APPLICATION, GATEWAY
from benchmarks.wire import Address
from serving.config import GatewayConfig
from serving.process.ray_environment import container_environment, node_environment

_OBJECT_STORE_BYTES = 128 * 1024 * 1024
_HEAD_UP_S = 300.0
_POLL_S = 0.25
_ATTEMPTS = 5
_RUNNING = "RUNNING"


class RayCluster:
    """One head node. Serve listens at ``address``, which is where the gateway's configuration says."""

    def __init__(self, fleet: Fleet, config: GatewayConfig, *, cpus: int) -> None:
        self._fleet = fleet
        self.address = Address("127.0.0.1", config.server.port)
        gcs, self._dashboard, *others = [free_port() for _ in range(5)]
        haproxy = [free_port() for _ in range(3)]
        self._scratch = Path("/tmp") / f"lp-{secrets.token_hex(3)}"  # noqa: S108  (Ray's socket names must stay short)
        (self._scratch / "h").mkdir(parents=True)
        launcher = Path(sys.executable).with_name("loraplex-haproxy")
        self._environment = {
            **container_environment(config, launcher=launcher, scratch=self._scratch / "h"),
            **node_environment(self._scratch / "h", launcher, haproxy),
            "RAY_LOG_TO_STDERR": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self._command = _start_command(self._scratch / "ray", gcs, self._dashboard, others, cpus)
        self.server = self._start()
        token = self._environment["RAY_AUTH_TOKEN"]
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._dashboard}", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def _start(self) -> Server:
        environment = self._environment
        return self._fleet.start("ray", self._command, self.address.port, env=environment, cwd=self._fleet.folder)

    async def wait_up(self) -> None:
        """Wait until the head takes Serve configurations. Raises ServerFailed."""
        deadline = time.monotonic() + _HEAD_UP_S
        while time.monotonic() < deadline:
            if not self.server.processes():
                # Ray gives its own processes half a minute, which a busy machine may exceed.
                say(f"Ray's head ended; starting it again\n{self.server.log_tail(3)}")
                self._fleet.stop(self.server)
                self.server = self._start()
            try:
                if (await self._http.get("/api/serve/applications/")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(_POLL_S)
        raise ServerFailed(f"Ray's head did not take orders within {_HEAD_UP_S:g} s:\n{self.server.log_tail()}")

    async def deploy(self, file: Path) -> int:
        """``serve deploy FILE``, again where it fails, as KubeRay does; returns how often. Raises ServerFailed."""
        for attempt in range(1, _ATTEMPTS + 1):
            say(f"serve deploy {file.name}")
            status, said = await self._serve_deploy(file)
            if status == 0:
                return attempt
            say(f"`serve deploy` ended with {status}: {said.strip()[-300:]}")
        raise ServerFailed(f"`serve deploy` ended with {status} {_ATTEMPTS} times: {said[-2000:]}")

    async def _serve_deploy(self, file: Path) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("serve")),
            "deploy",
            str(file),
            f"--address=http://127.0.0.1:{self._dashboard}",
            env={**os.environ, **self._environment},
            cwd=self._fleet.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode(errors="replace")

    async def status(self) -> dict[str, Any]:
        """The application, as Ray tells it; empty before it is deployed. Raises ServerFailed."""
        reply = await self._http.get("/api/serve/applications/")
        if reply.status_code != httpx.codes.OK:
            raise ServerFailed(f"Ray's API answered {reply.status_code}: {reply.text[:500]}")
        found: dict[str, Any] = reply.json()["applications"].get(APPLICATION, {})
        return found

    async def wait_settled(self, replicas: int | None, limit_s: float, *, deployed_at: float = 0.0) -> float:
        """Wait until the application runs as it was deployed, with that many gateways and none that comes or goes.

        ``deployed_at``: only a deployment later than this counts, in seconds since the epoch. Returns the seconds that
        it took. Raises ServerFailed.
        """
        started = time.monotonic()
        status: dict[str, Any] = {}
        while time.monotonic() - started < limit_s:
            status = await self.status()
            if status.get("status") == "DEPLOY_FAILED":
                raise ServerFailed(f"the deployment failed: {status.get('message')}")
            fresh = float(status.get("last_deployed_time_s") or 0) >= deployed_at
            if fresh and _is_settled(status, replicas):
                return time.monotonic() - started
            await asyncio.sleep(_POLL_S)
        raise ServerFailed(f"not settled after {limit_s:g} s: {_told(status)}\n{self.server.log_tail()}")

    async def close(self, logs: Path | None = None) -> None:
        """End Ray and remove what it wrote; with ``logs``, Serve's logs are kept there."""
        await self._http.aclose()
        self._fleet.stop(self.server)
        if logs is not None:
            written = self._scratch / "ray" / "session_latest" / "logs" / "serve"
            shutil.copytree(written, logs / "serve", dirs_exist_ok=True, ignore_dangling_symlinks=True)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _start_command(folder: Path, gcs: int, dashboard: int, others: Sequence[int], cpus: int) -> list[str]:
    """``ray start`` as KubeRay calls it, but on loopback and on ports of its own."""
    agent, client, metrics = others
    return [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--port={gcs}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}",
        f"--ray-client-server-port={client}",
        f"--metrics-export-port={metrics}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={folder}",
        "--disable-usage-stats",
    ]


def gateways(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gateway's replicas in an application's status."""
    found: list[dict[str, Any]] = status.get("deployments", {}).get(GATEWAY, {}).get("replicas", [])
    return found


def _is_settled(status: Mapping[str, Any], replicas: int | None) -> bool:
    deployments = status.get("deployments", {})
    if status.get("status") != _RUNNING or not deployments:
        return False
    if any(deployment["status"] != "HEALTHY" for deployment in deployments.values()):
        return False
    now = gateways(status)
    running = [replica for replica in now if replica["state"] == _RUNNING]
    return len(running) == len(now) and (replicas is None or len(now) == replicas)


def _told(status: Mapping[str, Any]) -> str:
    parts = [f"{status.get('status')} {status.get('message')}"]
    for name, deployment in status.get("deployments", {}).items():
        states = ", ".join(replica["state"] for replica in deployment.get("replicas", []))
        parts.append(f"{name} {deployment['status']} ({states}) {deployment.get('message')}")
    return "; ".join(parts)
