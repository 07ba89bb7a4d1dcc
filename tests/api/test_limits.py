"""Too many requests, too long ones, and a gateway that shuts down."""

import asyncio
import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api.harness import BASE, STABLE, config_of, run_gateway

HELLO: Any = [{"role": "user", "content": "one two three"}]


async def test_above_the_limit_it_is_a_rate_limit_error(tmp_path: Path) -> None:
    async with run_gateway(config_of(limits={"max_concurrent_requests": 1}), tmp_path) as gateway, gateway.sdk() as sdk:
        gateway.engine.gate.clear()
        first = asyncio.create_task(sdk.chat.completions.create(model="triage", messages=HELLO))
        await gateway.engine.until(lambda engine: bool(engine.running))
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refusal:
                await sdk.chat.completions.create(model="triage", messages=HELLO, stream=stream)
            assert int(refusal.value.response.headers["retry-after"]) >= 1
        gateway.engine.gate.set()
        await first
        assert await sdk.chat.completions.create(model="triage", messages=HELLO)
        assert gateway.total("loraplex_requests_total", outcome="overloaded") == 2
        assert gateway.total("loraplex_requests_in_flight") == 0


async def test_one_key_cannot_take_all_places(tmp_path: Path) -> None:
    keys = [{"name": n, "hash": "sha256:" + hashlib.sha256(n.encode()).hexdigest()} for n in ("a", "b")]
    config = config_of(limits={"max_concurrent_per_key": 1}, api_keys=keys)
    async with run_gateway(config, tmp_path) as gateway, gateway.sdk("a") as a, gateway.sdk("b") as b:
        gateway.engine.gate.clear()
        first = asyncio.create_task(a.chat.completions.create(model=BASE, messages=HELLO))
        await gateway.engine.until(lambda engine: bool(engine.running))
        with pytest.raises(openai.RateLimitError):
            await a.chat.completions.create(model=BASE, messages=HELLO)
        other = asyncio.create_task(b.chat.completions.create(model=BASE, messages=HELLO))
        await gateway.engine.until(lambda engine: len(engine.running) == 2)
        gateway.engine.gate.set()
        await asyncio.gather(first, other)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_generation_that_takes_too_long_is_a_504_and_aborted(tmp_path: Path, *, stream: bool) -> None:
    async with run_gateway(config_of(server={"request_timeout_s": 0.1}), tmp_path) as gateway:
        gateway.engine.gate.clear()
        body = {"model": "triage", "messages": HELLO, "stream": stream}
        answer = await gateway.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
        await gateway.until_idle()
        assert len(gateway.engine.aborted) == 1
        assert gateway.residency.held[STABLE] == 0
        assert gateway.total("loraplex_requests_total", outcome="timeout") == 1


async def test_after_the_first_byte_it_is_an_error_event(tmp_path: Path) -> None:
    async with run_gateway(config_of(server={"request_timeout_s": 0.5}), tmp_path) as gateway, gateway.sdk() as sdk:
        gateway.engine.hold_after(2)
        stream = await sdk.chat.completions.create(model="triage", messages=HELLO, stream=True)
        assert await anext(stream)
        assert await anext(stream)
        with pytest.raises(openai.APIError, match=r"longer than 0\.5 seconds"):
            await anext(stream)
        await gateway.until_idle()
        assert gateway.total("loraplex_requests_total", outcome="timeout") == 1
        assert gateway.total("loraplex_stream_errors_total") == 1
        assert gateway.residency.held[STABLE] == 0


async def test_a_client_that_does_not_read_cannot_keep_its_place_for_ever(tmp_path: Path) -> None:
    async with run_gateway(config_of(server={"request_timeout_s": 0.5}), tmp_path) as gateway:
        message = {"role": "user", "content": " ".join(["x" * 30_000] * 200)}
        body = json.dumps({"model": "triage", "messages": [message], "stream": True}).encode()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            address = ("127.0.0.1", int(gateway.url.rpartition(":")[2]))
            await asyncio.get_running_loop().sock_connect(client, address)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(client, head.encode() + body)
            await gateway.engine.until(lambda engine: len(engine.aborted) == 1)
            await gateway.until_idle()
        assert gateway.total("loraplex_requests_total", outcome="timeout") == 1
        assert gateway.residency.held[STABLE] == 0


async def test_a_gateway_that_shuts_down_ends_what_it_began_and_takes_nothing_new(tmp_path: Path) -> None:
    async with run_gateway(config_of(), tmp_path) as gateway, gateway.sdk() as sdk:
        gateway.engine.gate.clear()
        first = asyncio.create_task(sdk.chat.completions.create(model="triage", messages=HELLO))
        await gateway.engine.until(lambda engine: bool(engine.running))
        draining = asyncio.create_task(gateway.generator.drain(5))
        await asyncio.sleep(0)
        with pytest.raises(openai.InternalServerError, match="shutting down") as refusal:
            await sdk.chat.completions.create(model="triage", messages=HELLO)
        assert refusal.value.status_code == 503
        gateway.engine.gate.set()
        assert (await first).choices
        assert await draining
