"""One generation's hold on the gateway: a place, an adapter, and the record of what it did."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from adapters.types import CatalogSnapshot
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.semconv import ADAPTER_WAIT
from monitoring.spans import CANCELLED, spanning
from serving.admission import Admission
from serving.answers import FinishedText, TokenCounts
from serving.auth import ANYONE, Caller
from serving.contracts import Contract
from serving.engine.protocol import Endpoint, EngineRequest, EngineTimings, JsonObject
from serving.errors import GenerationTimedOut, answer_for
from serving.grounding.grounded import Grounded, Outcome
from serving.life.observer import Observer
from serving.observability.generations import GenerationTelling, ModelCall, tell_wait
from serving.observing.notes import Notes
from serving.observing.pipeline import Pipeline
from serving.tasks import BASE, Resolution

if TYPE_CHECKING:
    from serving.loading import Load


class Residency(Protocol):
    """The adapters of this replica, as the request path sees them."""

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The desired state that requests are resolved against."""
        ...

    def acquire(self, version: str, timeout_s: float) -> Awaitable[None]:
        """Wait until ``version`` is loaded, and keep it so. Raises AdapterServerError and VersionNotFound."""
        ...

    def release(self, version: str) -> None:
        """Undo one ``acquire``."""
        ...

    def last_load(self, version: str) -> "Load | None":
        """How ``version`` came to be loaded; None where it is not, or where nobody knows."""
        ...


@dataclass(slots=True)
class Call:
    """One request for a generation, as the API understood it."""

    endpoint: Endpoint
    body: JsonObject
    caller: Caller
    request_id: str
    arrived: float
    """``time.perf_counter()`` at its arrival."""
    split_key: str
    """Decides between stable and canary."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case request headers for the engine (trace context)."""
    public_id: str = ""
    """The request's id as its caller knows it: the header x-request-id."""


class Generation:
    """Holds what one generation needs: :meth:`enter`, :meth:`acquire`; then :meth:`end` once, whatever happened."""

    def __init__(
        self,
        call: Call,
        resolution: Resolution,
        contract: Contract | None,
        *,
        admission: Admission,
        residency: Residency,
        metrics: GatewayMetrics,
        telling: GenerationTelling,
        observer: Observer | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        self.call = call
        self.resolution = resolution
        self.contract = contract
        self.grounded: Grounded | None = None
        """What retrieval found; None where nothing was searched."""
        self._observer = observer
        self._snapshot = residency.snapshot
        asked = (call.endpoint, call.body)
        self.watch = None if observer is None else observer.watch(resolution, self._snapshot, asked)
        """Counts what the request shows; None for a version that is not under watch."""
        self.response_id: str | None = None
        """The `id` of the answer, once there is one."""
        self._pipeline = pipeline
        self.notes = self._draw(call, resolution)
        """What is noted for the checks of quality and drift; None for a request that is not observed."""
        self.finish_reasons: tuple[str, ...] = ()
        """Why each generated text ended, once they have."""
        self.texts: list[str] | None = [] if telling.keeps_texts(resolution) else None
        """The generated texts, where they will be logged."""
        self._telling = telling
        self._model_call: ModelCall | None = None
        self.record = RequestRecord(resolution.label, resolution.adapter, resolution.role or BASE)
        self._admission = admission
        self._residency = residency
        self._metrics = metrics
        self._key = None if call.caller is ANYONE else call.caller.name
        self._admitted = False
        self._leased = False
        self._timings = EngineTimings()
        telling.resolved(resolution)
        metrics.request_started(resolution.label)

    @property
    def refused(self) -> bool:
        """Whether the gateway answers itself, without engine and adapter."""
        return self.grounded is not None and self.grounded.outcome is Outcome.REFUSED

    @property
    def reads_texts(self) -> bool:
        """Whether somebody wants to see the generated texts whole."""
        return any(one is not None for one in (self.contract, self.watch, self.notes, self.texts))

    @property
    def passages(self) -> tuple[str, ...]:
        """The texts that retrieval put into the prompt."""
        return () if self.grounded is None else tuple(passage.text for passage in self.grounded.passages)

    def enter(self) -> None:
        """Take a place. Raises Overloaded and NotReady."""
        self._admission.enter(self._key)
        self._admitted = True
        self.record.admission_s = max(perf_counter() - self.call.arrived, 0.0)

    async def acquire(self, adapter_wait_s: float) -> None:
        """Take the adapter. Raises what the residency raises."""
        version = self.resolution.version
        if version is None:
            return
        started = perf_counter()
        self._metrics.adapter_wait_started(self.record.task)
        with spanning(ADAPTER_WAIT) as span:
            try:
                await self._residency.acquire(version, adapter_wait_s)
                self._leased = True
            finally:
                self._metrics.adapter_wait_ended(self.record.task)
                self.record.adapter_wait_s = perf_counter() - started
                if span is not None:
                    tell_wait(span, version, self._residency.last_load(version), started)

    def engine_request(self, body: JsonObject) -> EngineRequest:
        """The request for the engine, which is asked next."""
        call, headers = self.call, self.call.headers
        if not self.refused:
            self._model_call = self._telling.calls_model(call.endpoint, body, self.resolution)
            if self.notes is not None and self._pipeline is not None:
                body = self._pipeline.ask(self.notes, body)
        if self._model_call is not None:
            headers = self._model_call.span.headers
        return EngineRequest(call.endpoint, body, call.request_id, self.resolution.version, headers, self._timings)

    async def judge(self, texts: list[FinishedText]) -> bool:
        """Hold finished texts against the contract and mark them. Whether all satisfy it."""
        if self.texts is not None:
            self.texts.extend(text.text for text in texts)
        if self.notes is not None:
            self.notes.texts(texts)
        if self.watch is not None and not self.refused:
            self.watch.texts(texts)
        if self.contract is None:
            return True
        satisfied = True
        for text in texts:
            violation = (
                await asyncio.to_thread(self.contract.check, text.text, text.finish_reason)
                if self.contract.slow
                else self.contract.check(text.text, text.finish_reason)
            )
            text.mark(violation)
            if violation is not None:
                satisfied = False
                self.record.contract_violation = violation.value
        return satisfied

    def count(self, tokens: TokenCounts) -> None:
        """Note the engine's count."""
        self.record.prompt_tokens = tokens.prompt
        self.record.completion_tokens = tokens.completion

    def end(self, error: BaseException | None) -> None:
        """Give everything back and account for it."""
        if self._leased and self.resolution.version is not None:
            self._residency.release(self.resolution.version)
        if self._admitted:
            self._admission.leave(self._key)
        record = self.record
        record.duration_s = perf_counter() - self.call.arrived
        record.engine_queue_s = self._timings.queue_s
        record.outcome = outcome_of(error, record)
        self._metrics.request_finished(record)
        if self.watch is not None and not self.refused:
            self.watch.ended(record, self.passages)
        if self._observer is not None and self.response_id is not None and error is None:
            self._observer.answered(
                self.resolution,
                self._snapshot,
                response_id=self.response_id,
                request_id=self.call.public_id,
                caller=self.call.caller.name,
            )
        if self.grounded is not None:
            tally = self.grounded.tally
            self._metrics.answer_grounded(record.task, tally.citations, tally.dropped, tally.unsupported)
        if self.notes is not None and self._pipeline is not None:
            self._pipeline.ended(self.notes, record, self.grounded, self.watch)
        self._telling.ended(
            self.call,
            record,
            model_call=self._model_call,
            response_id=self.response_id,
            finish_reasons=self.finish_reasons,
            texts=self.texts,
            error=_code(error),
        )

    def _draw(self, call: Call, resolution: Resolution) -> Notes | None:
        if self._pipeline is None:
            return None
        return self._pipeline.draw(resolution, call.endpoint, call.body, call.public_id)


def timed_out(limit_s: float) -> GenerationTimedOut:
    """The error of a generation that took longer than ``limit_s`` seconds."""
    return GenerationTimedOut(f"The generation took longer than {limit_s:g} seconds.")


def _code(error: BaseException | None) -> str | None:
    if error is None:
        return None
    is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return CANCELLED if is_cancelled else answer_for(error).code


def outcome_of(error: BaseException | None, record: RequestRecord) -> str:
    """The metric label ``outcome``."""
    if error is None:
        return "ok" if record.contract_violation is None else "contract_violated"
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "cancelled"
    if isinstance(error, GenerationTimedOut):
        return "timeout"
    status = answer_for(error).status
    if status in _OUTCOMES:
        return _OUTCOMES[status]
    return "client_error" if status < 500 else "server_error"


_OUTCOMES = {429: "overloaded", 503: "unavailable", 504: "timeout"}
