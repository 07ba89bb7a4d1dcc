"""The three engines, each ready for the same tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.config import AdapterSettings, OpenAIEngineSettings
from serving.engine.fake import FakeEngine
from serving.engine.openai_http import OpenAIHttpEngine
from serving.engine.protocol import (
    AdapterCapacity,
    Endpoint,
    Engine,
    EngineAdapterError,
    EngineError,
    EngineRejected,
    EngineRequest,
)
from tests.live import served

FREE_PIECES = 4
"""Pieces that a held generation still gives: a response's first three are told before the engine begins."""
CAPACITY = AdapterCapacity(slots=2, cpu_slots=4, max_rank=16)


@dataclass(frozen=True)
class EngineCase:
    """An engine that has started, and what a test must know to look behind it."""

    engine: Engine
    folder: Callable[[int], Path]
    """Seed → the folder of an adapter."""
    running: Callable[[], int]
    """How many generations the engine itself counts as in progress."""
    hold: Callable[[bool], None]
    """Hold (True) generations before their next token, where the engine is faster than a test."""
    max_model_len: int


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Wait until ``condition`` holds, a bounded time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  (what is waited for may happen in another process)
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


def fake_case(engine: FakeEngine, backend: FakeEngine, root: Path, max_model_len: int) -> EngineCase:
    """A case whose generations happen in ``backend``."""

    def folder(seed: int) -> Path:
        path = root / str(seed)
        path.mkdir(exist_ok=True)
        return path

    def hold(held: bool) -> None:  # noqa: FBT001  (a switch)
        backend.free_pieces = FREE_PIECES
        if held:
            backend.gate.clear()
        else:
            backend.gate.set()

    return EngineCase(engine, folder, lambda: len(backend.running), hold, max_model_len)


@asynccontextmanager
async def fake_engine(root: Path) -> AsyncIterator[EngineCase]:
    """The fake itself."""
    engine = FakeEngine(capacity=CAPACITY, max_model_len=256)
    await engine.start(lambda _: None)
    yield fake_case(engine, engine, root, 256)
    await engine.stop()


@asynccontextmanager
async def http_engine(root: Path) -> AsyncIterator[EngineCase]:
    """The client of an OpenAI-compatible server, behind which is a fake."""
    backend = FakeEngine(capacity=CAPACITY, max_model_len=256)
    await backend.start(lambda _: None)
    async with served(openai_server(backend)) as url:
        settings = OpenAIEngineSettings(kind="openai", url=f"{url}/v1", adapters="vllm")
        engine = OpenAIHttpEngine(settings, "fake-base", AdapterSettings(slots=2, cpu_slots=4))
        await engine.start(lambda _: None)
        case = fake_case(backend, backend, root, 256)
        yield EngineCase(engine, case.folder, case.running, case.hold, case.max_model_len)
        await engine.stop()
    await backend.stop()


async def _loaded(backend: FakeEngine, name: str, path: Path) -> Response:
    if name in {one.name for one in await backend.resident()}:
        return _envelope(EngineAdapterError(f"The lora adapter '{name}' has already been loaded."), 400)
    try:
        await backend.load_adapter(name, path)
    except EngineAdapterError as error:
        return _envelope(error, 400)
    return PlainTextResponse("Success")


def openai_server(backend: FakeEngine) -> Starlette:
    """An OpenAI-compatible server with vLLM's runtime-LoRA routes, in front of ``backend``."""

    async def models(_: Request) -> Response:
        cards = [{"id": "fake-base", "object": "model", "max_model_len": 256}]
        cards += [{"id": one.name, "object": "model", "parent": "fake-base"} for one in await backend.resident()]
        return JSONResponse({"object": "list", "data": cards})

    async def load(request: Request) -> Response:
        body = await request.json()
        return await _loaded(backend, body["lora_name"], Path(body["lora_path"]))

    async def unload(request: Request) -> Response:
        await backend.unload_adapter((await request.json())["lora_name"])
        return PlainTextResponse("Success")

    numbers = iter(range(1_000_000))

    def generation(endpoint: Endpoint) -> Callable[[Request], object]:
        async def handle(request: Request) -> Response:
            body = orjson.loads(await request.body())
            model = body["model"]
            adapter = None if model == "fake-base" else model
            wanted = EngineRequest(endpoint, body, f"upstream-{next(numbers)}", adapter)
            try:
                return await (_streamed if body.get("stream") else _whole)(backend, wanted, request)
            except EngineAdapterError as error:
                return _envelope(error, 404)
            except EngineRejected as error:
                return _envelope(error, error.status)
            except EngineError as error:
                return _envelope(error, 500)

        return handle

    paths = {Endpoint.CHAT: "chat/completions", Endpoint.COMPLETIONS: "completions", Endpoint.RESPONSES: "responses"}
    routes = [Route(f"/v1/{path}", generation(endpoint), methods=["POST"]) for endpoint, path in paths.items()]
    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/load_lora_adapter", load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", unload, methods=["POST"]),
            *routes,
        ]
    )


async def _whole(backend: FakeEngine, wanted: EngineRequest, request: Request) -> Response:
    answer = asyncio.ensure_future(backend.complete(wanted))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(answer.result()) if answer.done() else Response(status_code=499)
    finally:
        answer.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _streamed(backend: FakeEngine, wanted: EngineRequest, _: Request) -> Response:
    pieces = backend.stream(wanted)
    # An error before the first piece is told with a status; uvicorn closes the generator when the client leaves.
    first = await anext(pieces)

    async def events() -> AsyncIterator[bytes]:
        try:
            yield b"data: " + orjson.dumps(first) + b"\n\n"
            async for piece in pieces:
                yield b"data: " + orjson.dumps(piece) + b"\n\n"
            yield b"data: [DONE]\n\n"
        except EngineError as error:
            yield b"data: " + orjson.dumps({"error": {"message": str(error), "code": 500}}) + b"\n\n"
        finally:
            await pieces.aclose()

    return StreamingResponse(events(), media_type="text/event-stream")


def _envelope(error: EngineError, status: int) -> Response:
    details = {
        "message": str(error),
        "type": getattr(error, "type", "server_error"),
        "param": getattr(error, "param", None),
        "code": getattr(error, "code", None),
    }
    return JSONResponse({"error": details}, status_code=status)
