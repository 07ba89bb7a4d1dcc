"""A Ray head of the product's on this machine, and Serve configurations deployed to it as KubeRay does: by its API."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fleet import Fleet, Server, ServerFailed, free_port, say
from benchmarks.serve_files import APPLICATION, GATEWAY
from serving.config import GatewayConfig
from serving.process.ray_environment import container_environment, node_environment

_OBJECT_STORE_BYTES = 128 * 1024 * 1024
_HEAD_UP_S = 120.0
_POLL_S = 0.25
_RUNNING = "RUNNING"


class RayCluster:
    """One head node. Serve listens where the gateway's configuration says."""

    def __init__(self, fleet: Fleet, config: GatewayConfig, *, cpus: int) -> None:
        self._folder = fleet.folder
        ports = [free_port() for _ in range(8)]
        gcs, self._dashboard, agent, client, metrics, *haproxy = ports
        scratch = Path("/tmp") / f"lp-{secrets.token_hex(3)}"  # noqa: S108  (Ray's socket names must stay short)
        launcher = Path(sys.executable).with_name("loraplex-haproxy")
        self.environment = {
            **container_environment(config, launcher=launcher, scratch=scratch / "h"),
            **node_environment(scratch / "h", launcher, haproxy),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        (scratch / "h").mkdir(parents=True)
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={gcs}",
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}",
            f"--metrics-export-port={metrics}",
            f"--num-cpus={cpus}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--temp-dir={scratch / 'ray'}",
            "--disable-usage-stats",
        ]
        self.scratch = scratch
        self.server: Server = fleet.start("ray", command, config.server.port, env=self.environment, cwd=fleet.folder)
        token = self.environment["RAY_AUTH_TOKEN"]
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._dashboard}", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    async def wait_up(self) -> None:
        """Wait until the head takes Serve configurations. Raises ServerFailed."""
        deadline = time.monotonic() + _HEAD_UP_S
        while time.monotonic() < deadline:
            try:
                if (await self._http.get("/api/serve/applications/")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(_POLL_S)
        raise ServerFailed(f"Ray's head did not take orders within {_HEAD_UP_S:g} s:\n{self.server.log_tail()}")

    async def deploy(self, file: Path) -> None:
        """``serve deploy FILE``. Raises ServerFailed where it is refused."""
        say(f"serve deploy {file.name}")
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("serve")),
            "deploy",
            str(file),
            f"--address=http://127.0.0.1:{self._dashboard}",
            env={**os.environ, **self.environment},
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise ServerFailed(f"`serve deploy` ended with {process.returncode}: {said.decode()[-2000:]}")

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

    async def close(self) -> None:
        """Let go of the connection; the fleet ends the processes."""
        await self._http.aclose()


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
