"""Which replica HAProxy gives a request to. Real HAProxy, real servers that answer with their own name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from serving.process import haproxy
from serving.process.haproxy import Frontend
from serving.process.launch import find_haproxy
from tests.integration.instance import free_port
from tests.lifecycle import until
from tests.live import served

MODELS = [f"adapter-{number}" for number in range(32)]


class Named:
    """Answers every request with its name, as soon as the gate is open."""

    def __init__(self, name: str, gate: asyncio.Event) -> None:
        self._name = name
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await self._gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self._name.encode()})


class Proxy:
    """HAProxy before two replicas."""

    def __init__(self, client: httpx.AsyncClient, gate: asyncio.Event) -> None:
        self._client = client
        self.gate = gate
        """Open unless a test closes it."""

    async def ask(self, model: str, **fields: Any) -> str:
        """The name of the replica that answered."""
        answer = await self._client.post("/v1/chat/completions", json={**fields, "model": model})
        return answer.raise_for_status().text

    async def get(self) -> str:
        """The name of the replica that answered a request without a body."""
        return (await self._client.get("/v1/models")).raise_for_status().text


def _configuration(port: int, servers: list[str]) -> str:
    lines = [
        "defaults",
        "    mode http",
        "    balance leastconn",
        "    timeout connect 5s",
        "    timeout client 30s",
        "    timeout server 30s",
        "    timeout http-request 5s",
        "frontend http_frontend",
        f"    bind 127.0.0.1:{port}",
        "    use_backend http-loraplex",
        "backend http-loraplex",
        *(f"    server replica-{number} {server} check" for number, server in enumerate(servers)),
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    gate = asyncio.Event()
    gate.set()
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(served(Named(f"r{number}", gate))) for number in range(2)]
        frontend = Frontend("127.0.0.1", free_port())
        text = _configuration(frontend.port, [url.removeprefix("http://") for url in urls])
        haproxy.write_error_files(tmp_path)
        config = tmp_path / "haproxy.cfg"
        config.write_text(haproxy.rewrite(text, frontend, tmp_path))
        await stack.enter_async_context(_running(config))
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{frontend.port}", trust_env=False, timeout=20)
        await stack.enter_async_context(client)
        await until(lambda: _answers(client), "an answer through HAProxy")
        yield Proxy(client, gate)


@asynccontextmanager
async def _running(config: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(find_haproxy(), "-db", "-q", "-f", str(config))
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/v1/models")).is_success
    except httpx.TransportError:
        return False


async def test_a_models_requests_go_to_the_same_replica_and_the_models_are_shared(proxy: Proxy) -> None:
    first = [await proxy.ask(model, messages=["x" * 2000]) for model in MODELS]
    again = [await proxy.ask(model, messages=["y"]) for model in MODELS]
    assert again == first
    assert 8 <= first.count("r0") <= 24


async def test_a_model_that_is_asked_much_spills_over_to_the_other_replica(proxy: Proxy) -> None:
    proxy.gate.clear()
    asked = [asyncio.create_task(proxy.ask("triage")) for _ in range(16)]
    _, waiting = await asyncio.wait(asked, timeout=1)
    assert len(waiting) == len(asked)
    proxy.gate.set()
    answers = await asyncio.gather(*asked)
    assert 6 <= answers.count("r0") <= 10


async def test_what_names_no_model_goes_to_each_in_turn(proxy: Proxy) -> None:
    assert {await proxy.get() for _ in range(4)} == {"r0", "r1"}
    long = "x" * 200_000  # More than HAProxy reads ahead; the model's name comes after it.
    assert {await proxy.ask("triage", messages=[long]) for _ in range(4)} == {"r0", "r1"}
