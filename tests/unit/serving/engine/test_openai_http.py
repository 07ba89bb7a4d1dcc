"""The client of an OpenAI-compatible server, against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from serving.config import AdapterSettings, OpenAIEngineSettings
from serving.engine.openai_http import OpenAIHttpEngine
from serving.engine.protocol import (
    Endpoint,
    EngineAdapterError,
    EngineError,
    EngineFailed,
    EngineRejected,
    EngineRequest,
    EngineUnavailable,
    JsonObject,
)
from serving.errors import ConfigInvalid

CHAT = EngineRequest(Endpoint.CHAT, {"messages": [], "unknown_field": {"kept": True}}, "r")
USAGE = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answer(_: web.Request) -> web.Response:
    return web.json_response({"id": "x", "model": "upstream", "choices": [], "usage": USAGE["usage"]})


@asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback whose chat completions are ``handler``."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "upstream", "max_model_len": 99}]})


@asynccontextmanager
async def engine_for(url: str, **more: Any) -> AsyncIterator[OpenAIHttpEngine]:
    settings = OpenAIEngineSettings(kind="openai", url=url, model="upstream", **more)
    engine = OpenAIHttpEngine(settings, "public", AdapterSettings())
    await engine.start(lambda _: None)
    try:
        yield engine
    finally:
        await engine.stop()


async def collect(engine: OpenAIHttpEngine) -> list[JsonObject]:
    async with aclosing(engine.stream(CHAT)) as pieces:
        return [piece async for piece in pieces]


async def test_the_body_passes_through_and_only_the_model_is_replaced() -> None:
    seen: list[JsonObject] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(orjson.loads(await request.read()))
        return await answer(request)

    async with upstream(handler) as url, engine_for(url) as engine:
        told = await engine.complete(CHAT)
    assert seen == [{"messages": [], "unknown_field": {"kept": True}, "model": "upstream", "stream": False}]
    assert told["model"] == "public"


async def test_it_knows_the_servers_context_length() -> None:
    async with upstream(answer) as url:
        engine = OpenAIHttpEngine(
            OpenAIEngineSettings(kind="openai", url=url, model="upstream"), "public", AdapterSettings()
        )
        info = await engine.start(lambda _: None)
        await engine.stop()
    assert (info.model, info.max_model_len, info.adapters) == ("public", 99, None)


async def test_trace_headers_and_the_key_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-1")
    seen: list[tuple[str | None, str | None, str | None]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        headers = request.headers
        seen.append((headers.get("authorization"), headers.get("traceparent"), headers.get("cookie")))
        return await answer(request)

    headers = {"traceparent": "00-1-2-01", "cookie": "secret"}
    async with upstream(handler) as url, engine_for(url, api_key_env="UPSTREAM_KEY") as engine:
        await engine.complete(EngineRequest(Endpoint.CHAT, {}, "r", headers=headers))
    assert seen == [("Bearer sk-1", "00-1-2-01", None)]


async def test_a_key_that_is_not_in_the_environment_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigInvalid, match="NO_SUCH_KEY"):
        async with engine_for("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY"):
            pass


async def test_nothing_at_the_address_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        async with engine_for("http://127.0.0.1:9/v1"):
            pass


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "no", "type": "BadRequestError", "param": "n", "code": 400}, EngineRejected),
        (401, {"message": "who are you"}, EngineFailed),
        (404, {"message": "no such model"}, EngineFailed),
        (429, {"message": "slow down"}, EngineRejected),
        (500, {"message": "oh"}, EngineFailed),
        (503, {"message": "later"}, EngineUnavailable),
    ],
)
async def test_an_error_status_becomes_the_protocols_error(
    status: int, error: JsonObject, kind: type[EngineError]
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"error": error}, status=status)

    async with upstream(handler) as url, engine_for(url) as engine:
        with pytest.raises(kind) as whole:
            await engine.complete(CHAT)
        with pytest.raises(kind):
            await collect(engine)
    if isinstance(whole.value, EngineRejected) and status == HTTPStatus.BAD_REQUEST:
        assert (whole.value.type, whole.value.param, whole.value.code) == ("invalid_request_error", "n", None)


async def test_a_body_that_is_not_json_is_a_failure() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with upstream(handler) as url, engine_for(url) as engine:
        with pytest.raises(EngineFailed, match="not a JSON object"):
            await engine.complete(CHAT)


async def sse(request: web.Request, *events: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(event)
    return response


async def test_a_stream_asks_for_usage_and_gives_every_object() -> None:
    bodies: list[JsonObject] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(orjson.loads(await request.read()))
        pieces = [orjson.dumps({"model": "upstream", "choices": [{"index": 0}]}), orjson.dumps(USAGE)]
        text = b"".join(b"data: " + piece + b"\n\n" for piece in pieces)
        return await sse(request, text[:20], text[20:], b"data: [DO", b"NE]\n\n")

    async with upstream(handler) as url, engine_for(url) as engine:
        pieces = await collect(engine)
    assert bodies[0]["stream_options"] == {"include_usage": True}
    assert pieces == [{"model": "public", "choices": [{"index": 0}]}, USAGE]


async def test_an_error_inside_a_stream_is_raised_after_what_came_before() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        error = b'data: {"error": {"message": "boom", "code": 500}}\n\n'
        return await sse(request, b'data: {"choices": []}\n\n', error)

    async with upstream(handler) as url, engine_for(url) as engine, aclosing(engine.stream(CHAT)) as pieces:
        assert await anext(pieces) == {"choices": []}
        with pytest.raises(EngineFailed, match="boom"):
            await anext(pieces)


async def test_a_stream_that_just_stops_is_not_taken_for_a_whole_one() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await sse(request, b'data: {"choices": []}\n\n')

    async with upstream(handler) as url, engine_for(url) as engine:
        with pytest.raises(EngineUnavailable, match="before its end"):
            await collect(engine)


async def test_an_event_that_is_not_json_is_a_failure() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await sse(request, b"data: {nope\n\n")

    async with upstream(handler) as url, engine_for(url) as engine:
        with pytest.raises(EngineFailed, match="not JSON"):
            await collect(engine)


async def test_a_kept_connection_that_the_server_closed_is_tried_once_more() -> None:
    requests = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        if requests == 2:
            assert request.transport is not None
            request.transport.abort()
        return await answer(request)

    async with upstream(handler) as url, engine_for(url) as engine:
        await engine.complete(CHAT)
        await engine.complete(CHAT)
    assert requests == 3


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    forever = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await forever.wait()
        return web.Response()

    async with upstream(handler) as url, engine_for(url, timeout_s=0.05) as engine:
        with pytest.raises(EngineUnavailable, match="within"):
            await engine.complete(CHAT)
        forever.set()


async def test_adapters_are_refused_where_the_configuration_has_none() -> None:
    async with upstream(answer) as url, engine_for(url) as engine:
        with pytest.raises(EngineAdapterError, match="none"):
            await engine.load_adapter("a@1", Path())
        assert await engine.resident() == []


async def test_runtime_adapters_that_are_off_over_there_are_said_to_be() -> None:
    async with upstream(answer) as url, engine_for(url, adapters="vllm") as engine:
        with pytest.raises(EngineAdapterError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            await engine.load_adapter("a@1", Path())


async def test_a_stopped_engine_is_unavailable() -> None:
    async with upstream(answer) as url, engine_for(url) as engine:
        await engine.stop()
        await engine.stop()
        with pytest.raises(EngineUnavailable):
            await engine.complete(CHAT)
        with pytest.raises(EngineUnavailable):
            await engine.check_health()
