"""The use case: resolve the name → admit → search → hold the adapter → generate → account."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from time import perf_counter

from monitoring.metrics import GatewayMetrics
from serving.accounting import Call, Generation, Residency, timed_out
from serving.admission import Admission
from serving.answers import (
    SATISFIED,
    VIOLATED,
    answer_id,
    count_tokens,
    event_reader,
    finish_reasons,
    finished_texts,
    label_answer,
)
from serving.auth import Caller
from serving.config import GatewayConfig
from serving.contracts import Contract
from serving.engine.protocol import Engine, EngineRequest, JsonObject
from serving.errors import ModelNotFound, answer_for
from serving.grounding.grounded import Grounded
from serving.grounding.grounder import Grounder, finish_answer, read_events
from serving.grounding.prompt import CountTokens
from serving.grounding.refusal import Refusal
from serving.grounding.token_counter import estimate_tokens
from serving.knowledge.protocol import KnowledgeClient
from serving.life.observer import Observer
from serving.observability.generations import GenerationTelling
from serving.observing.logprobs import read_events as without_logprobs
from serving.observing.pipeline import Pipeline
from serving.observing.repeats import Repeats
from serving.shadow import ShadowTraffic
from serving.shaping import shape_request
from serving.streams import AnswerStream
from serving.tasks import ModelEntry, Resolution, entries, entry_for, resolve

__all__ = ["Answer", "Call", "Generator", "Residency"]


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    body: JsonObject
    resolution: Resolution
    contract: str | None
    """``satisfied`` or ``violated``; None for a model without an output contract."""
    grounded: Grounded | None
    """What retrieval found; None where nothing was searched."""


class Generator:
    """Answers generation requests with one engine and the adapters of one replica.

    Args:
        knowledge: what searches; None where retrieval is not set up.
        count_tokens: the length of a passage, in tokens of the base model.
        observer: what counts requests of versions under watch, and remembers answers; None: nothing does.
        pipeline: what observes answers for their quality and for drift; None: nothing does.

    Raises:
        ConfigInvalid: an output contract cannot be compiled.
    """

    def __init__(
        self,
        config: GatewayConfig,
        engine: Engine,
        residency: Residency,
        metrics: GatewayMetrics,
        *,
        knowledge: KnowledgeClient | None = None,
        count_tokens: CountTokens = estimate_tokens,
        observer: Observer | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        self._config = config
        self._engine = engine
        self._residency = residency
        self._observer = observer
        self._pipeline = pipeline
        self._metrics = metrics
        self._limit_s = config.server.request_timeout_s
        self._contracts = {
            name: Contract(task.output) for name, task in config.tasks.items() if task.output is not None
        }
        engine_settings = config.engine
        self._is_vllm = engine_settings.kind == "vllm" or (
            engine_settings.kind == "openai" and engine_settings.adapters == "vllm"
        )
        self._admission = Admission(config.limits)
        self._telling = GenerationTelling(config)
        self._grounder = Grounder(knowledge, metrics, count_tokens)
        self._shadows = ShadowTraffic(
            engine, residency, metrics, self._admission, self._limit_s, observer, pipeline=pipeline
        )
        self._repeats = None
        if pipeline is not None:
            self._repeats = Repeats(engine, residency, self._admission, pipeline, self._limit_s)

    @property
    def in_flight(self) -> int:
        """Generations in progress."""
        return self._admission.in_flight

    def models(self, caller: Caller) -> list[ModelEntry]:
        """Every model that ``caller`` may use."""
        return list(entries(self._residency.snapshot, self._config, caller.may_use))

    def model(self, name: str, caller: Caller) -> ModelEntry:
        """One model. Raises ModelNotFound, and PermissionDenied where the caller may not use it."""
        entry = entry_for(name, self._residency.snapshot, self._config)
        if entry is None:
            raise ModelNotFound(name)
        caller.require(name)
        return entry

    async def complete(self, call: Call) -> Answer:
        """The whole answer.

        Raises:
            ModelNotFound, PermissionDenied, InvalidRequest, Overloaded, NotReady, GenerationTimedOut,
            RetrievalUnavailable, VectorStoreNotFound, FilterInvalid, what the residency raises for an adapter that
            cannot be had, and what the engine raises.
        """
        generation = self._start(call)
        error: BaseException | None = None
        try:
            async with asyncio.timeout(self._limit_s):
                request = await self._begin(generation)
                began = perf_counter()
                try:
                    body = await self._source(generation).complete(request)
                finally:
                    generation.record.engine_s = perf_counter() - began
            return await self._finish(generation, body)
        except TimeoutError as cause:
            error = timed_out(self._limit_s)
            raise error from cause
        except BaseException as cause:
            error = cause
            raise
        finally:
            generation.end(error)

    def stream(self, call: Call) -> AnswerStream:
        """The answer piece by piece. Entering the stream raises as ``complete`` does.

        Raises:
            ModelNotFound, PermissionDenied: at once.
        """
        generation = self._start(call)
        generation.record.streamed = True
        reader = event_reader(call.endpoint, call.body, generation.resolution, keep_text=generation.reads_texts)
        return AnswerStream(generation, reader, self._open, self._limit_s)

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new generations, and wait for those in progress. False where ``timeout_s`` was not enough."""
        drained = await self._admission.drain(timeout_s)
        await self._shadows.close()
        if self._repeats is not None:
            await self._repeats.close()
        return drained

    def _start(self, call: Call) -> Generation:
        try:
            model = call.body["model"]
            resolution = resolve(model, self._residency.snapshot, self._config, call.split_key)
            call.caller.require(model)
        except Exception as error:
            self._metrics.request_refused(answer_for(error).code)
            raise
        return Generation(
            call,
            resolution,
            self._contracts.get(model) if resolution.task is not None else None,
            admission=self._admission,
            residency=self._residency,
            metrics=self._metrics,
            telling=self._telling,
            observer=self._observer,
            pipeline=self._pipeline,
        )

    async def _begin(self, generation: Generation) -> EngineRequest:
        call, task = generation.call, generation.resolution.task
        inquiry = self._grounder.inquiry(call, generation.resolution)
        given = call.body if inquiry is None else inquiry.body
        body = shape_request(call.endpoint, given, task, generation.contract, vllm=self._is_vllm)
        generation.enter()
        if inquiry is not None:
            body = await self._grounder.ground(inquiry, body, generation)
        if generation.refused:
            return generation.engine_request(body)
        await generation.acquire(self._config.limits.adapter_wait_s)
        request = generation.engine_request(body)
        self._shadows.copy(generation, request)
        if self._repeats is not None:
            self._repeats.begin(generation, request)
        return request

    def _source(self, generation: Generation) -> Engine | Refusal:
        task = generation.resolution.task
        if generation.refused and task is not None and task.retrieval is not None:
            return Refusal(task.retrieval.refusal)
        return self._engine

    async def _open(self, generation: Generation) -> AsyncGenerator[JsonObject, None]:
        request = await self._begin(generation)
        events = self._source(generation).stream(request)
        if generation.notes is not None and generation.notes.probabilities is not None:
            events = without_logprobs(generation.notes.probabilities, request.endpoint, events)
        if generation.grounded is None:
            return events
        return read_events(generation.grounded, request.endpoint, events)

    async def _finish(self, generation: Generation, body: JsonObject) -> Answer:
        endpoint, resolution = generation.call.endpoint, generation.resolution
        if generation.notes is not None:
            generation.notes.answer(body)
        if generation.grounded is not None:
            finish_answer(generation.grounded, endpoint, body)
        label_answer(endpoint, body, resolution)
        generation.count(count_tokens(body.get("usage")))
        generation.response_id = answer_id(body)
        generation.finish_reasons = tuple(finish_reasons(endpoint, body))
        verdict = None
        if generation.reads_texts:
            satisfied = await generation.judge(list(finished_texts(endpoint, body)))
            if generation.contract is not None:
                verdict = SATISFIED if satisfied else VIOLATED
        return Answer(body, resolution, verdict, generation.grounded)
