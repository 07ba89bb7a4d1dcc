"""Kills with a real engine: its processes never outlive what they belong to, and the gateway comes back by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.process import family
from tests.conftest import AdapterFolder
from tests.integration.instance import Instance, Load, eventually, free_port

MODEL = "smollm2"
ALIAS = "triage"
ENGINE = "VLLM::"
READY_WITHIN_S = 240

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.timeout(900)]


def _settings(base: Path, adapter: Path) -> dict[str, Any]:
    return {
        "model": {"id": str(base), "name": MODEL},
        "engine": {
            "args": {"max_model_len": 1024, "enforce_eager": True, "max_num_seqs": 8},
            "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
        "server": {"port": free_port(), "drain_timeout_s": 10},
        "adapters": {"slots": 2, "cpu_slots": 4, "preload": [{"name": ALIAS, "source": str(adapter)}]},
    }


@asynccontextmanager
async def _streaming(instance: Instance) -> AsyncIterator[tuple[asyncio.Task[None], list[str]]]:
    """A long streamed answer that has begun."""
    events: list[str] = []

    async def read() -> None:
        body = {"model": ALIAS, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 900, "stream": True}
        body["ignore_eos"] = True
        try:
            async with (
                httpx.AsyncClient(timeout=120, trust_env=False) as client,
                client.stream("POST", f"{instance.url}/v1/chat/completions", json=body) as answer,
            ):
                async for line in answer.aiter_lines():
                    if line:
                        events.append(line)  # noqa: PERF401  (what came before a break counts)
            events.append("end")
        except httpx.HTTPError as error:
            events.append(f"broken: {error!r}")

    task = asyncio.create_task(read())
    await eventually(lambda: len(events) > 5, "some tokens", 60)
    yield task, events
    await asyncio.wait_for(task, 60)


async def _until_ended(instance: Instance, before: list[int]) -> None:
    """The engine processes of before the kill are gone."""
    await eventually(
        lambda: not [pid for pid in before if family.identity_of(pid) is not None], f"the end of {before}", 20
    )


async def test_a_killed_engine_core_ends_streams_with_an_error_event_and_a_new_one_takes_over(
    base_checkpoint: Path, adapter_folder: AdapterFolder, tmp_path: Path
) -> None:
    settings = _settings(base_checkpoint, adapter_folder(1))
    instance = Instance(tmp_path, settings, "--local")
    async with instance:
        engines = [process.pid for process in instance.find(ENGINE)]
        async with _streaming(instance) as (_, events):
            instance.kill("VLLM::EngineCore")
        assert any('"error"' in event for event in events[-3:]), events[-3:]
        await _until_ended(instance, engines)
        load = Load(instance.url, ALIAS, workers=2)
        async with load.running():
            await load.until_served(4, READY_WITHIN_S)
        assert not load.without_retry_after
        assert set(load.statuses) <= {200, 503}
        async with _streaming(instance) as (_, events):
            await instance.kill_main()
        assert events[-1].startswith("broken"), events[-3:]
        await instance.assert_nothing_left(20)


async def test_under_ray_a_killed_replica_takes_its_engine_with_it_and_comes_back(
    base_checkpoint: Path, adapter_folder: AdapterFolder, tmp_path: Path
) -> None:
    async with Instance(tmp_path, _settings(base_checkpoint, adapter_folder(1))) as instance:
        engines = [process.pid for process in instance.find(ENGINE)]
        assert engines
        async with _streaming(instance) as (_, events):
            instance.kill("ServeReplica:loraplex:Gateway")
        assert events[-1].startswith("broken"), events[-3:]
        await _until_ended(instance, engines)
        load = Load(instance.url, ALIAS, workers=2)
        async with load.running():
            await load.until_served(4, READY_WITHIN_S)
        assert not load.without_retry_after
        assert set(load.statuses) <= {200, 503}
        assert not load.broken
        assert await instance.stop() == 0
        await instance.assert_nothing_left(20)
