"""A whole gateway with knowledge, on loopback, in front of the fake engine."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
from starlette.types import ASGIApp

from retrieval.indexes.memory import MemoryIndexStore
from retrieval.indexes.protocol import IndexStore
from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from serving.knowledge.service import KnowledgeService
from tests.live import served

BASE = "fake-base"


@dataclass(frozen=True, slots=True)
class LiveKnowledge:
    """What a test drives and looks at."""

    url: str
    engine: FakeEngine
    service: KnowledgeService | None
    """None where the gateway made its own."""
    app: ASGIApp

    def sdk(self, key: str = "none") -> openai.AsyncOpenAI:
        """The official client, without its retries."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def http(self, key: str = "none") -> httpx.AsyncClient:
        """Bare HTTP under ``/v1``."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=f"{self.url}/v1/", headers=headers, timeout=60, trust_env=False)


def key_of(name: str, **rights: Any) -> dict[str, Any]:
    """An entry of ``api_keys`` whose key is its own name."""
    return {"name": name, "hash": f"sha256:{hashlib.sha256(name.encode()).hexdigest()}", **rights}


def knowledge_config(folder: Path, *, knowledge: dict[str, Any] | None = None, **sections: Any) -> GatewayConfig:
    """A configuration whose whole state is in ``folder``. ``knowledge`` adds to that section."""
    retrieval = {
        "index": {"uri": str(folder / "milvus.db")},
        "cache_dir": str(folder / "cache"),
        **(knowledge or {}),
    }
    return parse_config(
        {
            "model": {"id": BASE},
            "engine": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": BASE, "adapters": "none"},
            "adapters": {"enabled": False},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
            "artifacts": {"url": str(folder / "artifacts")},
            "knowledge": retrieval,
            **sections,
        }
    )


@asynccontextmanager
async def live_gateway(config: GatewayConfig) -> AsyncIterator[LiveKnowledge]:
    """A gateway that runs its own knowledge service, as an operator's does."""
    engine = FakeEngine(BASE, capacity=None)
    gateway = build_gateway(config, engine=engine, replica="test")
    await gateway.start(lambda _: None)
    try:
        async with served(gateway.app) as url:
            yield LiveKnowledge(url, engine, None, gateway.app)
    finally:
        await gateway.stop()


@asynccontextmanager
async def live_with_memory_index(
    config: GatewayConfig, open_indexes: Callable[[], IndexStore] = MemoryIndexStore
) -> AsyncIterator[LiveKnowledge]:
    """A gateway whose index is the reference one."""
    engine = FakeEngine(BASE, capacity=None)
    service = KnowledgeService(config, open_indexes=open_indexes)
    await service.start()
    try:
        gateway = build_gateway(config, engine=engine, replica="test", knowledge=service)
        await gateway.start(lambda _: None)
        try:
            async with served(gateway.app) as url:
                yield LiveKnowledge(url, engine, service, gateway.app)
        finally:
            await gateway.stop()
    finally:
        await service.stop()


async def settled(client: httpx.AsyncClient, store_id: str, *, within_s: float = 60.0) -> dict[str, Any]:
    """The store, once nothing in it waits any more."""
    deadline = time.monotonic() + within_s
    while True:
        store: dict[str, Any] = (await client.get(f"vector_stores/{store_id}")).json()
        if store["file_counts"]["in_progress"] == 0:
            return store
        assert time.monotonic() < deadline, f"still in progress after {within_s:g} s: {store}"
        await asyncio.sleep(0.02)


async def made(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    """The id of what a request made."""
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def uploaded(client: httpx.AsyncClient, name: str, data: bytes) -> str:
    """The id of a file that was sent."""
    answer = await client.post("files", files={"file": (name, data)}, data={"purpose": "assistants"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])
