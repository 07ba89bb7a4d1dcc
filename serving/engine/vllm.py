"""``VllmEngine``: vLLM in the gateway's own process.

The engine client and vLLM's OpenAI serving classes live here; the model runs in the processes that vLLM starts. No
HTTP lies between the gateway and vLLM: its serving classes are called as the objects that they are.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
from starlette.datastructures import Headers

from monitoring.catalogue import ENGINE_SERIES
from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.protocol import (
    AdapterCapacity,
    Endpoint,
    EngineAdapterError,
    EngineError,
    EngineInfo,
    EngineRequest,
    EngineUnavailable,
    JsonObject,
    Progress,
    ResidentAdapter,
)
from serving.engine.refusals import check_prompt_logprobs
from serving.engine.timings import drop_timings, note_timings
from serving.engine.vllm_adapters import VllmAdapters
from serving.engine.vllm_answers import ResponseEvents, normal_answer, normal_piece
from serving.engine.vllm_args import TELL_TIMES
from serving.engine.vllm_errors import from_error_body, from_error_info, from_exception, name_param
from serving.engine.vllm_process import RunningVllm, start_vllm
from serving.engine.vllm_requests import prepare, validated

_TRACE_HEADERS = ("traceparent", "tracestate")


class VllmEngine:
    """One vLLM engine with runtime-loaded adapters."""

    def __init__(self, model: ModelSettings, engine: VllmEngineSettings, adapters: AdapterSettings) -> None:
        self._model = model
        self._settings = engine
        self._adapter_settings = adapters
        self._vllm: RunningVllm | None = None
        self._adapters: VllmAdapters | None = None
        self._numbers = itertools.count(1)
        self._died = asyncio.Event()
        # Without a place to export to, vLLM answers trace headers with a warning.
        self._traces = engine.args.get("otlp_traces_endpoint") is not None

    async def start(self, progress: Progress) -> EngineInfo:
        """Bring vLLM up: about a minute for a small model. Raises EngineUnavailable, ConfigInvalid."""
        if self._vllm is not None:
            raise EngineUnavailable("the engine runs already")
        self._died = asyncio.Event()
        self._vllm = vllm = await start_vllm(
            self._model, self._settings, self._adapter_settings, progress, self._died.set
        )
        capacity = None
        if self._adapter_settings.enabled:
            settings = self._adapter_settings
            self._adapters = VllmAdapters(vllm, settings.cpu_slots)
            capacity = AdapterCapacity(settings.slots, settings.cpu_slots, settings.max_rank)
        progress("warming up (the first start on a machine compiles the samplers)")
        try:
            await self._warm_up()
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        return EngineInfo(
            model=self._model.public_name,
            max_model_len=vllm.client.model_config.max_model_len,
            adapters=capacity,
            version=f"vllm {vllm.version}",
            series=ENGINE_SERIES,
        )

    async def stop(self) -> None:
        """End vLLM's processes and wait for them."""
        vllm, self._vllm, self._adapters = self._vllm, None, None
        if vllm is not None:
            await vllm.stop()

    async def dead(self) -> None:
        """Return once the engine has died by itself."""
        await self._died.wait()

    async def complete(self, request: EngineRequest) -> JsonObject:
        """The whole answer."""
        if request.endpoint is Endpoint.RESPONSES and request.body.get("tools"):
            return await self._streamed_response(request)
        vllm = self._alive()
        answer_id = self._answer_id(request)
        with _Use(self._adapters, request.adapter):
            try:
                answer = await self._create(vllm, request, answer_id, stream=False)
            except asyncio.CancelledError:
                await vllm.abort(answer_id)
                raise
            except Exception as error:
                raise self._translated(error, request) from error
            if isinstance(answer, vllm.error_type):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # vLLM answers a cancelled request with an error object.
                    await vllm.abort(answer_id)
                    raise asyncio.CancelledError
                raise self._translated(from_error_info(answer.error), request)
            told = self._timed(request, answer.model_dump(mode="json", by_alias=True))
            return normal_answer(request, told) | self._named(request)

    async def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """The answer as vLLM gives it, an object for each event."""
        vllm = self._alive()
        answer_id = self._answer_id(request)
        finished, named = False, self._named(request)
        with _Use(self._adapters, request.adapter):
            try:
                pieces = await self._create(vllm, request, answer_id, stream=True)
                if isinstance(pieces, vllm.error_type):
                    raise from_error_info(pieces.error)
                if request.endpoint is Endpoint.RESPONSES:
                    events = ResponseEvents(request)
                    async for event in pieces:
                        for normal in events.normal(event.model_dump(mode="json", by_alias=True)):
                            yield normal
                else:
                    async for line in pieces:
                        if line == "data: [DONE]\n\n":
                            continue
                        piece = orjson.loads(line[6:])
                        if "error" in piece:
                            raise from_error_body(piece)
                        yield normal_piece(self._timed(request, piece)) | named
                finished = True
            except Exception as error:
                raise self._translated(error, request) from error
            finally:
                if not finished:
                    await vllm.abort(answer_id)

    async def _streamed_response(self, request: EngineRequest) -> JsonObject:
        """A response put together from its events: vLLM's own misses calls that were cut short."""
        last: JsonObject = {}
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                last = event
        response: JsonObject = last["response"]
        return response

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load under an id and an internal name that were never used before."""
        await self._need_adapters().load(name, path)

    async def unload_adapter(self, name: str) -> None:
        """Remove, and see it gone by vLLM's own list."""
        await self._need_adapters().unload(name)

    async def resident(self) -> Sequence[ResidentAdapter]:
        """What vLLM's workers say they hold."""
        return await self._need_adapters().resident()

    async def check_health(self) -> None:
        """Raises EngineUnavailable if vLLM's processes are not there."""
        self._alive()

    def metrics_text(self) -> bytes:
        """vLLM's own series."""
        return b"" if self._vllm is None else self._vllm.metrics_text()

    async def _warm_up(self) -> None:
        """Generate once of each kind: vLLM compiles its samplers and imports its grammars on first use (15 s)."""
        sampling = {"prompt": "Hello", "max_tokens": 2, "top_p": 0.9, "top_k": 20, "logprobs": 1}
        for body in (
            sampling,
            sampling | {"n": 3},
            sampling | {"temperature": 0},
            {"prompt": "Hello", "max_tokens": 8, "structured_outputs": {"choice": ["yes", "no"]}},
        ):
            await self.complete(EngineRequest(Endpoint.COMPLETIONS, body, "warm-up"))

    def _alive(self) -> RunningVllm:
        if self._vllm is None or not self._vllm.alive:
            raise EngineUnavailable("The engine is not running.")
        return self._vllm

    def _need_adapters(self) -> VllmAdapters:
        self._alive()
        if self._adapters is None:
            raise EngineAdapterError("adapters are disabled (`adapters.enabled: false`)")
        return self._adapters

    def _translated(self, error: Exception, request: EngineRequest) -> EngineError:
        if self._vllm is None or not self._vllm.alive:
            return EngineUnavailable("The engine has stopped.")
        return name_param(from_exception(error), request)

    def _timed(self, request: EngineRequest, answer: JsonObject) -> JsonObject:
        """Note how long vLLM says that it took, and leave that out unless the configuration asks for it."""
        note_timings(request.timings, answer)
        if not self._settings.args.get(TELL_TIMES):
            drop_timings(answer)
        return answer

    def _named(self, request: EngineRequest) -> JsonObject:
        return {"model": request.adapter or self._model.public_name}

    def _answer_id(self, request: EngineRequest) -> str:
        # A caller may send the same request id twice; an answer's id is its own.
        prefix = "resp_" if request.endpoint is Endpoint.RESPONSES else ""
        return f"{prefix}{request.request_id}-{next(self._numbers):x}"

    async def _create(self, vllm: RunningVllm, request: EngineRequest, answer_id: str, *, stream: bool) -> Any:
        model = self._model.public_name if request.adapter is None else request.adapter
        serving = vllm.endpoints[request.endpoint]
        if self._adapters is not None:
            check_prompt_logprobs(request.body)
        body = prepare(request, model, answer_id, stream=stream)
        return await serving.create(validated(serving.model, body), _trace(request) if self._traces else None)


class _Use:
    """A request's use of an adapter, from its first step in the engine to its last."""

    def __init__(self, adapters: VllmAdapters | None, name: str | None) -> None:
        if name is not None and adapters is None:
            raise EngineAdapterError(f"the adapter {name} is not loaded: adapters are disabled")
        self._adapters = adapters
        self._name = name

    def __enter__(self) -> None:
        if self._name is not None and self._adapters is not None:
            self._adapters.enter(self._name)

    def __exit__(self, *_: object) -> None:
        if self._name is not None and self._adapters is not None:
            self._adapters.leave(self._name)


def _trace(request: EngineRequest) -> Any:
    """What vLLM reads of an HTTP request: the headers of a trace; None where there are none."""
    headers = {name: request.headers[name] for name in _TRACE_HEADERS if name in request.headers}
    return SimpleNamespace(headers=Headers(headers), state=SimpleNamespace()) if headers else None
