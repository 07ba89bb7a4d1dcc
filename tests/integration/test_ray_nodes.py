"""A Ray cluster of two nodes, made by ``loraplex node`` on one machine; one of them dies under load."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.adapter_factory import make_adapter, make_base
from tests.integration.instance import Instance, Load, lasting_ports

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

ALIAS = "triage"


@dataclass
class Cluster:
    """Two nodes and what serves on them."""

    http: httpx.AsyncClient
    folder: Path
    settings: dict[str, Any]
    ray_port: int
    head: Instance = field(init=False)
    worker: Instance = field(init=False)
    gateway: Instance = field(init=False)

    def node(self, name: str, *arguments: str) -> Instance:
        """One more node, not yet started."""
        folder = self.folder / name
        folder.mkdir()
        return Instance(folder, self.settings, "--cpus", "1", *arguments, command="node")

    async def replicas(self) -> dict[str, str]:
        """The live replicas, and on which node each of them is: the host of its own address."""
        answer = (await self.http.get("/admin/v1/replicas")).raise_for_status().json()
        return {one["replica"]: httpx.URL(one["address"]).host for one in answer["data"] if one["ready"]}


def _settings(folder: Path) -> dict[str, Any]:
    base = make_base(folder / "tiny")
    make_adapter(folder / ALIAS, base, scale=0.5)
    return {
        "model": {"id": str(folder / "tiny"), "name": "tiny"},
        "engine": {"kind": "fake", "token_s": 0.02},
        "replicas": 2,
        "adapters": {"cache_dir": str(folder / "cache"), "preload": [{"name": ALIAS, "source": str(folder / ALIAS)}]},
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "artifacts": {"url": str(folder / "artifacts")},
        "logging": {"audit": {"file": str(folder / "audit.jsonl")}},
        # The replicas of a node listen on every address of it, and so does what relays to them.
        "server": {
            "host": "0.0.0.0",  # noqa: S104
            "port": lasting_ports(1)[0],
            "authentication": "off",
            "allow_unauthenticated": True,
            "drain_timeout_s": 2,
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A head and a node, each with room for one replica, and a gateway of two."""
    folder = tmp_path_factory.mktemp("nodes")
    settings, port = _settings(folder), lasting_ports(1)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        url = f"http://127.0.0.1:{settings['server']['port']}"
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            made = Cluster(http, folder, settings, port)
            made.head = made.node("head", "--head", "--port", str(port), "--host", "127.0.0.1")
            made.worker = made.node("worker", *_joining(port))
            (folder / "gateway").mkdir()
            made.gateway = Instance(folder / "gateway", settings, "--ray-address", f"127.0.0.1:{port}")
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(made.head)
                for one in (made.worker, made.gateway):
                    stack.push_async_exit(one)
                await asyncio.gather(made.worker.start(), made.gateway.start())
                yield made


def _joining(port: int) -> tuple[str, ...]:
    return ("--address", f"127.0.0.1:{port}", "--host", "127.0.0.2", "--http-port", str(lasting_ports(1)[0]))


async def test_a_node_may_die_join_and_leave_under_load_and_no_request_fails(cluster: Cluster) -> None:
    before = await cluster.replicas()
    assert len(set(before.values())) == 2, before
    load = Load(cluster.gateway.url, ALIAS, workers=4, max_tokens=16)
    began = time.monotonic()
    async with load.running():
        await load.until_served(20, 60)
        await cluster.worker.kill_all()
        killed = time.monotonic()
        await load.until_served(100, 60)
        served = time.monotonic()
        one = await _replicas_of(cluster, 1)
        gone = time.monotonic()
        assert "127.0.0.2" not in one.values()
        again = cluster.node("again", *_joining(cluster.ray_port))
        await again.start()
        try:
            joined = time.monotonic()
            both = await _replicas_of(cluster, 2)
            back = time.monotonic()
            assert "127.0.0.2" in both.values()
            await load.until_served(100, 60)
            left = time.monotonic()
            assert await again.stop() == 0
            leaving = time.monotonic() - left
            assert await again.survivors(10) == []
            await load.until_served(100, 60)
        finally:
            await again.kill_all()
    times = {
        "before": killed - began,
        "served": served - killed,
        "gone": gone - killed,
        "back": back - joined,
        "leaving": leaving,
    }
    print(json.dumps({"requests": len(load.statuses), **{name: round(value, 1) for name, value in times.items()}}))
    assert set(load.statuses) == {200}, load.unavailable[:3]
    assert load.broken == []


async def _replicas_of(cluster: Cluster, count: int) -> dict[str, str]:
    """The replicas, once there are so many."""
    async with asyncio.timeout(120):
        while len(found := await cluster.replicas()) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.25)
    return found


async def test_what_was_stopped_leaves_no_process(cluster: Cluster) -> None:
    assert await cluster.gateway.stop() == 0
    assert await cluster.head.stop() == 0
    await cluster.head.assert_nothing_left()
    await cluster.gateway.assert_nothing_left()
