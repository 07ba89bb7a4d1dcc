"""Copies of the traffic for a version that nobody sees yet."""

import asyncio
from pathlib import Path
from typing import Any

from serving.engine.protocol import EngineFailed
from tests.api.harness import SHADOW, STABLE, RunningGateway, config_of, run_gateway, with_alias

HELLO: Any = [{"role": "user", "content": "hello there"}]
BODY: dict[str, Any] = {"model": "triage", "messages": HELLO}
CHAT = "/v1/chat/completions"


async def _until_shadows(gateway: RunningGateway, count: int) -> None:
    await gateway.engine.until(
        lambda engine: [request.adapter for request in engine.requests].count(SHADOW) == count and not engine.running
    )
    async with asyncio.timeout(5):
        while gateway.total("loraplex_requests_total", role="shadow") < count:
            await gateway.http.get("/healthz")


async def test_the_shadow_gets_a_copy_and_the_client_the_stable_answer(gateway: RunningGateway) -> None:
    with_alias(gateway, shadow=SHADOW)
    whole = await gateway.http.post(CHAT, json=BODY)
    assert whole.json()["system_fingerprint"] == STABLE
    streamed = await gateway.http.post(CHAT, json=BODY | {"stream": True})
    assert SHADOW not in streamed.text
    await _until_shadows(gateway, 2)
    copies = [request for request in gateway.engine.requests if request.adapter == SHADOW]
    assert all("stream" not in copy.body for copy in copies)
    assert all(copy.request_id.endswith("-shadow") for copy in copies)
    assert gateway.total("loraplex_requests_total", role="shadow", adapter=SHADOW, outcome="ok", task="triage") == 2
    assert gateway.total("loraplex_completion_tokens_total", role="shadow") > 0
    assert gateway.total("loraplex_requests_in_flight") == 0
    assert gateway.residency.held.total() == 0


async def test_a_failing_shadow_hurts_nobody(gateway: RunningGateway) -> None:
    with_alias(gateway, shadow=SHADOW)
    gateway.engine.gate.clear()
    primary = asyncio.create_task(gateway.http.post(CHAT, json=BODY))
    await gateway.engine.until(lambda engine: bool(engine.running))
    gateway.engine.fail_next(EngineFailed("stumbled"))
    await gateway.engine.until(lambda engine: len(engine.running) == 2)
    gateway.engine.gate.set()
    assert (await primary).status_code == 200
    await _until_shadows(gateway, 1)
    assert gateway.total("loraplex_requests_total", role="shadow", outcome="server_error") == 1


async def test_a_shadow_without_a_place_is_dropped_and_counted(gateway: RunningGateway) -> None:
    with_alias(gateway, shadow=SHADOW)
    gateway.residency.saturated.add(SHADOW)
    assert (await gateway.http.post(CHAT, json=BODY)).status_code == 200
    async with asyncio.timeout(5):
        while not gateway.total("loraplex_shadow_dropped_total", reason="not_ready"):
            await gateway.http.get("/healthz")


async def test_under_load_copies_are_dropped_first(tmp_path: Path) -> None:
    async with run_gateway(config_of(limits={"max_concurrent_requests": 2}), tmp_path) as gateway:
        with_alias(gateway, shadow=SHADOW)
        gateway.engine.gate.clear()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(gateway.http.post(CHAT, json=BODY))
            second = group.create_task(gateway.http.post(CHAT, json=BODY))
            await gateway.engine.until(lambda engine: sum(r.adapter == STABLE for r in engine.running) == 2)
            gateway.engine.gate.set()
        assert first.result().status_code == second.result().status_code == 200
        assert gateway.total("loraplex_shadow_dropped_total", reason="capacity") == 1


async def test_a_shadow_in_progress_does_not_hold_up_the_shutdown(gateway: RunningGateway) -> None:
    with_alias(gateway, shadow=SHADOW)
    gateway.engine.hold_after(1, SHADOW)
    assert (await gateway.http.post(CHAT, json=BODY)).status_code == 200
    await gateway.engine.until(lambda engine: any(request.adapter == SHADOW for request in engine.running))
    assert await gateway.generator.drain(5)
    assert not gateway.engine.running
    assert gateway.residency.held.total() == 0
