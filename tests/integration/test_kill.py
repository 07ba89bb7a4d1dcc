"""What happens when processes are killed, in front of a remote engine that is fast to start."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.engine.fake import FakeEngine
from tests.adapter_factory import make_adapter, make_base
from tests.contract.engines import CAPACITY, openai_server
from tests.embedding_server import embedding_server
from tests.integration.conftest import eventually as eventually_gives
from tests.integration.instance import WORKERS, Instance, Load, eventually, free_port
from tests.live import served

MODEL = "tiny"
ALIAS = "triage"
DESK = "desk"

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Remote:
    """The server that generates, in the test's own process."""

    engine: FakeEngine
    url: str


@asynccontextmanager
async def _remote() -> AsyncIterator[Remote]:
    engine = FakeEngine(capacity=CAPACITY, max_model_len=256)
    await engine.start(lambda _: None)
    async with served(openai_server(engine)) as url:
        yield Remote(engine, url)
    await engine.stop()


def _settings(remote: Remote, folder: Path, **sections: Any) -> dict[str, Any]:
    base = make_base(folder / MODEL)
    make_adapter(folder / "triage", base, scale=0.5)
    return {
        "model": {"id": str(base), "name": MODEL},
        "engine": {"kind": "openai", "url": f"{remote.url}/v1", "model": "fake-base", "adapters": "vllm"},
        "server": {"port": free_port(), "drain_timeout_s": 10},
        "adapters": {"slots": 2, "cpu_slots": 4, "preload": [{"name": ALIAS, "source": str(folder / "triage")}]},
        **sections,
    }


async def _stream(instance: Instance, events: list[str]) -> None:
    """One streamed answer; its events, and at the end how the connection ended."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "stream": True}
    try:
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False) as client,
            client.stream("POST", f"{instance.url}/v1/chat/completions", json=body) as answer,
        ):
            async for line in answer.aiter_lines():
                if line:
                    events.append(line)  # noqa: PERF401  (what came before a break counts)
        events.append("end")
    except httpx.HTTPError as error:
        events.append(f"broken: {error!r}")


@asynccontextmanager
async def _held_stream(instance: Instance, remote: Remote) -> AsyncIterator[tuple[asyncio.Task[None], list[str]]]:
    """A stream that has begun and waits for the engine's next token."""
    events: list[str] = []
    remote.engine.free_pieces = 1
    remote.engine.gate.clear()
    task = asyncio.create_task(_stream(instance, events))
    try:
        await eventually(lambda: any("content" in event for event in events), "the stream's first token")
        yield task, events
    finally:
        remote.engine.gate.set()
        await asyncio.wait({task}, timeout=30)


async def _models(instance: Instance) -> list[str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{instance.url}/v1/models")
    return [model["id"] for model in answer.json()["data"]]


async def test_killing_the_whole_program_leaves_nothing_and_it_starts_again_at_once(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        async with _held_stream(instance, remote) as (stream, events):
            await instance.kill_main()
            await asyncio.wait_for(stream, 10)
        assert events[-1].startswith("broken"), events
        await instance.assert_nothing_left()
        await instance.start()
        assert ALIAS in await _models(instance)
        assert await instance.stop() == 0
        await instance.assert_nothing_left()


async def test_a_program_killed_together_with_its_guardian_is_swept_by_the_next_start(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        os.kill(instance.record()["guardian"][0], signal.SIGKILL)
        await instance.kill_main()
        await instance.start()
        assert len(list((tmp_path / ".loraplex" / "run").iterdir())) == 1


async def test_a_killed_serving_process_comes_back_and_the_port_never_goes_away(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        load = Load(instance.url, MODEL)
        async with load.running():
            await load.until_served(8, 30)
            instance.kill("serving.process.local_server")
            await eventually(lambda: 503 in load.statuses, "the answer that it is starting", 5)
            await load.until_served(8, 60)
        assert not [error for error in load.broken if "ConnectError" in error]
        assert not load.without_retry_after
        assert set(load.statuses) <= {200, 503}
        assert ALIAS in await _models(instance)


async def test_a_killed_guardian_is_replaced(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        first = instance.record()["guardian"]
        os.kill(first[0], signal.SIGKILL)
        second = await eventually(
            lambda: (now := instance.record()["guardian"]) != first and now, "another guardian", 10
        )
        assert psutil.Process(second[0]).is_running()
        await instance.kill_main()
        await instance.assert_nothing_left()


async def test_a_stop_lets_the_stream_in_flight_finish(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        async with _held_stream(instance, remote) as (stream, events):
            instance.interrupt(signal.SIGTERM)
            await instance.until_line("Stopping", 10)
            remote.engine.gate.set()
            await asyncio.wait_for(stream, 10)
        assert events[-2:] == ["data: [DONE]", "end"], events
        assert await instance.ended() == 0
        await instance.assert_nothing_left()


async def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    async with _remote() as remote, Instance(tmp_path, _settings(remote, tmp_path), "--local") as instance:
        async with _held_stream(instance, remote) as (_, events):
            instance.interrupt(signal.SIGINT)
            await instance.until_line("Stopping", 10)
            instance.interrupt(signal.SIGINT)
            assert await instance.ended(within_s=6) == 0
        assert "data: [DONE]" not in events
        await instance.assert_nothing_left()


@pytest.mark.cluster
async def test_under_ray_no_kill_is_fatal(tmp_path: Path) -> None:
    """One start, because it takes half a minute: replica, knowledge, HAProxy, raylet, then the whole program."""
    async with _remote() as remote:
        with embedding_server() as embeddings:
            await _kill_one_after_the_other(remote, embeddings, tmp_path)


async def _kill_one_after_the_other(remote: Remote, embeddings: str, tmp_path: Path) -> None:
    # Several replicas cannot share a remote server's adapters: with adapters, see test_kill_engine.
    settings = _settings(
        remote,
        tmp_path,
        replicas=2,
        adapters={"enabled": False},
        knowledge={"embedder": {"url": embeddings, "model": "words"}, "bases": {DESK: {}}},
        tasks={DESK: {"retrieval": {"knowledge": [DESK], "timeout_s": 2}}},
    )
    settings["engine"]["adapters"] = "none"
    async with Instance(tmp_path, settings) as instance:
        await _kill_a_replica(instance)
        await _kill_the_knowledge(instance)
        await _kill(instance, "HAProxyManager", within_s=60)
        await _kill(instance, "/raylet ", within_s=120)
        async with _held_stream(instance, remote) as (stream, events):
            await instance.kill_main()
            await asyncio.wait_for(stream, 10)
        assert events[-1].startswith("broken"), events
        await instance.assert_nothing_left()
        await instance.start()
        assert await _models(instance) == [DESK, MODEL]
        assert await instance.stop() == 0
        await instance.assert_nothing_left()


async def _kill_the_knowledge(instance: Instance) -> None:
    """Tasks that retrieve do without for a while; nobody else notices; what was ingested is there again by itself."""
    async with httpx.AsyncClient(base_url=f"{instance.url}/v1/", timeout=60, trust_env=False) as http:
        store = (await http.get("vector_stores")).json()["data"][0]["id"]
        file = ("lantern.txt", b"One lantern costs 12 crowns.")
        uploaded = (await http.post("files", data={"purpose": "assistants"}, files={"file": file})).json()
        await http.post(f"vector_stores/{store}/files", json={"file_id": uploaded["id"]})

        async def retrieval() -> str:
            body = {"model": DESK, "messages": [{"role": "user", "content": "lantern?"}], "max_tokens": 4}
            answer = (await http.post("chat/completions", json=body)).raise_for_status()
            return str(answer.headers["x-loraplex-retrieval"])

        assert await eventually_gives(retrieval, "found", 60) == "found"
        load = Load(instance.url, MODEL)
        async with load.running():
            await load.until_served(8, 30)
            instance.kill("ServeReplica:loraplex:Knowledge")
            assert await eventually_gives(retrieval, "degraded", 20) == "degraded"
            assert await eventually_gives(retrieval, "found", 90) == "found"
            await load.until_served(8, 30)
        assert set(load.statuses) == {200}
        assert not load.broken


async def _kill_a_replica(instance: Instance) -> None:
    """Requests without an answer are repeated on the other replica; at worst each connection gets one 503."""
    load = Load(instance.url, MODEL)
    async with load.running():
        await load.until_served(8, 30)
        instance.kill("ServeReplica:loraplex:Gateway")
        await load.until_served(40, 30)
        await eventually(lambda: len(instance.find("ServeReplica:loraplex:Gateway")) == 2, "a new replica", 90)
    assert set(load.statuses) <= {200, 503}
    assert len(load.unavailable) <= WORKERS, load.unavailable
    assert not load.without_retry_after
    assert not load.broken


async def _kill(instance: Instance, pattern: str, *, within_s: float) -> None:
    load = Load(instance.url, MODEL)
    async with load.running():
        await load.until_served(8, 30)
        instance.kill(pattern)
        await eventually(lambda: load.broken or 503 in load.statuses, f"the kill of {pattern} to be felt", 20)
        await load.until_served(8, within_s)
    assert not load.without_retry_after
    assert set(load.statuses) <= {200, 503}
