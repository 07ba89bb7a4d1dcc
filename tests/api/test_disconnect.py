"""A client that goes away."""

import asyncio
import json
import socket
from typing import Any

import pytest

from tests.api.harness import STABLE, RunningGateway

ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "one two three"}]},
    "/v1/completions": {"prompt": "one two three"},
    "/v1/responses": {"input": "one two three"},
}


async def _connect(gateway: RunningGateway, path: str, **fields: Any) -> socket.socket:
    """Send a request over a bare socket."""
    body = json.dumps({"model": "triage"} | ENDPOINTS[path] | fields).encode()
    port = int(gateway.url.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    await asyncio.get_running_loop().sock_sendall(client, head.encode() + body)
    return client


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_leaving_before_the_first_token_aborts_the_generation(
    gateway: RunningGateway, path: str, *, stream: bool
) -> None:
    gateway.engine.gate.clear()
    client = await _connect(gateway, path, stream=stream)
    await gateway.engine.until(lambda engine: bool(engine.running))
    client.close()
    await gateway.engine.until(lambda engine: len(engine.aborted) == 1)
    await gateway.until_idle()
    assert gateway.residency.held[STABLE] == 0
    assert gateway.total("loraplex_requests_total", outcome="cancelled") == 1
    assert gateway.total("loraplex_requests_in_flight") == 0


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_leaving_in_the_middle_of_a_stream_aborts_it(gateway: RunningGateway, path: str) -> None:
    gateway.engine.hold_after(2)
    client = await _connect(gateway, path, stream=True)
    received = b""
    while received.count(b"data: ") < 2:
        received += await asyncio.get_running_loop().sock_recv(client, 65536)
    client.close()
    await gateway.engine.until(lambda engine: len(engine.aborted) == 1)
    await gateway.until_idle()
    assert gateway.residency.held[STABLE] == 0
    assert gateway.total("loraplex_requests_total", outcome="cancelled") == 1


async def test_leaving_while_the_adapter_loads_harms_nobody_else(gateway: RunningGateway) -> None:
    gateway.engine.load_gate.clear()
    client = await _connect(gateway, "/v1/completions")
    await gateway.engine.until(lambda engine: bool(engine.loads))
    client.close()
    async with asyncio.timeout(5):
        while not gateway.total("loraplex_requests_total", outcome="cancelled"):
            await gateway.http.get("/healthz")
    assert not gateway.engine.requests
    assert gateway.total("loraplex_requests_waiting") == 0
    answer = await gateway.http.post("/v1/completions", json={"model": "fake-base", "prompt": "x"})
    assert answer.status_code == 200


async def test_a_connection_is_used_again_after_an_answer(gateway: RunningGateway) -> None:
    for _ in range(3):
        for stream in (True, False):
            body = {"model": "triage", "stream": stream} | ENDPOINTS["/v1/completions"]
            answer = await gateway.http.post("/v1/completions", json=body)
            assert answer.status_code == 200
    await gateway.until_idle()
    assert gateway.total("loraplex_requests_total", outcome="ok") == 6
    assert gateway.total("loraplex_requests_total", outcome="cancelled") == 0
