"""A whole gateway over the session's real vLLM, on loopback."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import openai
import pytest
import pytest_asyncio

from serving.config import parse_config
from serving.engine.protocol import AdapterCapacity, EngineInfo, EngineRequest, JsonObject, Progress, ResidentAdapter
from serving.engine.vllm import VllmEngine
from serving.gateway import build_gateway
from tests.live import served

T = TypeVar("T")

ANSWER_SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["billing", "outage"]}, "urgent": {"type": "boolean"}},
    "required": ["label", "urgent"],
    "additionalProperties": False,
}


class BorrowedEngine:
    """The session's engine, whose start and stop are not this gateway's business."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine

    async def start(self, progress: Progress) -> EngineInfo:
        return EngineInfo("smollm2", 2048, AdapterCapacity(slots=2, cpu_slots=4, max_rank=16))

    async def stop(self) -> None:
        for adapter in await self._engine.resident():
            await self._engine.unload_adapter(adapter.name)

    async def complete(self, request: EngineRequest) -> JsonObject:
        return await self._engine.complete(request)

    def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        return self._engine.stream(request)

    async def load_adapter(self, name: str, path: Path) -> None:
        await self._engine.load_adapter(name, path)

    async def unload_adapter(self, name: str) -> None:
        await self._engine.unload_adapter(name)

    async def resident(self) -> Sequence[ResidentAdapter]:
        return await self._engine.resident()

    async def dead(self) -> None:
        await self._engine.dead()

    async def check_health(self) -> None:
        await self._engine.check_health()

    def metrics_text(self) -> bytes:
        return self._engine.metrics_text()


@dataclasses.dataclass(frozen=True)
class LiveGateway:
    """Where the gateway is, and its engine's own account."""

    url: str
    engine: VllmEngine

    def sdk(self) -> openai.AsyncOpenAI:
        """The official client, without its retries."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    async def held(self) -> set[str]:
        """The versions that the engine itself says it holds."""
        return {adapter.name for adapter in await self.engine.resident()}


async def eventually(read: Callable[[], Awaitable[T]], wanted: T, within_s: float = 20.0) -> T:
    """What ``read`` gives once it is ``wanted``, or at last."""
    deadline = asyncio.get_running_loop().time() + within_s
    while (value := await read()) != wanted and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return value


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def live(
    vllm_engine: VllmEngine, base_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveGateway]:
    """A ready gateway."""
    folder = tmp_path_factory.mktemp("gateway")
    config = parse_config(
        {
            "model": {"id": str(base_checkpoint), "name": "smollm2"},
            "adapters": {"slots": 2, "cpu_slots": 4, "cache_dir": str(folder / "cache")},
            "tasks": {
                "support": {"adapter": "triage", "sampling": {"max_tokens": 8}},
                "labels": {"output": {"json_schema": ANSWER_SCHEMA}, "sampling": {"max_tokens": 48}},
                "code": {"output": {"regex": "[A-C][0-9]{3}"}},
                "colour": {"output": {"choice": ["red", "green"]}},
                "sum": {"output": {"grammar": 'root ::= "1+" [2-4] "=" [0-9]'}},
            },
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "logging": {"audit": {"file": f"{folder}/audit.jsonl"}},
            "artifacts": {"url": str(folder / "artifacts")},
        }
    )
    gateway = build_gateway(config, engine=BorrowedEngine(vllm_engine), replica="replica-0")
    await gateway.start(lambda _: None)
    async with served(gateway.app) as url:
        yield LiveGateway(url, vllm_engine)
    await gateway.stop()
