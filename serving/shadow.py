"""Copies of requests for a version that nobody sees yet: measured, then dropped."""

import asyncio
from dataclasses import replace
from time import perf_counter

from adapters.types import Role
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.semconv import SHADOW, VERSION_NAME
from monitoring.spans import spanning
from serving.accounting import Generation, Residency, outcome_of, timed_out
from serving.admission import Admission
from serving.answers import count_tokens, finished_texts, label_answer
from serving.engine.protocol import Engine, EngineRequest
from serving.grounding.grounded import Grounded, Tally
from serving.grounding.grounder import finish_answer
from serving.life.observer import Observer, Watch
from serving.observing.logprobs import Probabilities
from serving.observing.notes import Notes
from serving.observing.pipeline import Pipeline
from serving.shaping import shadow_body

HIGHEST_LOAD = 0.5
"""Share of the gateway's places that primary traffic may take before copies are dropped."""
MOST_AT_ONCE = 8
"""Copies in progress per replica."""
ADAPTER_WAIT_S = 1.0
"""How long a copy waits for its adapter, in seconds."""


class ShadowTraffic:
    """Runs copies in the background. A copy never delays or fails the request that it was made from."""

    def __init__(
        self,
        engine: Engine,
        residency: Residency,
        metrics: GatewayMetrics,
        admission: Admission,
        limit_s: float,
        observer: Observer | None = None,
        *,
        pipeline: Pipeline | None = None,
    ) -> None:
        self._observer = observer
        self._pipeline = pipeline
        self._engine = engine
        self._residency = residency
        self._metrics = metrics
        self._admission = admission
        self._limit_s = limit_s
        self._running: set[asyncio.Task[None]] = set()

    def copy(self, primary: Generation, request: EngineRequest) -> None:
        """Start a copy of ``request`` where the resolution asks for one and there is room."""
        version = primary.resolution.shadow
        if version is None:
            return
        if self._admission.load > HIGHEST_LOAD or len(self._running) >= MOST_AT_ONCE:
            self._metrics.shadow_dropped(primary.record.task, version, "capacity")
            return
        task = asyncio.create_task(self._run(primary, request, version))
        if primary.watch is not None:
            primary.watch.copied = True
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End every copy."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, primary: Generation, request: EngineRequest, version: str) -> None:
        task = primary.record.task
        try:
            await self._residency.acquire(version, ADAPTER_WAIT_S)
        except Exception:
            self._metrics.shadow_dropped(task, version, "not_ready")
            if primary.watch is not None:
                primary.watch.copied = False
            return
        record = RequestRecord(task, version, Role.SHADOW)
        watch = None
        if self._observer is not None:
            asked = (primary.call.endpoint, primary.call.body)
            watch = self._observer.watch_shadow(version, primary.resolution, self._residency.snapshot, asked)
        notes = self._notes(primary, version)
        # With a tally of its own: what the copy cites says nothing of the primary's answer.
        grounded = None if primary.grounded is None else replace(primary.grounded, tally=Tally())
        started = perf_counter()
        error: BaseException | None = None
        try:
            async with asyncio.timeout(self._limit_s):
                await self._generate(primary, request, version, record, watch, notes, grounded)
        except TimeoutError:
            error = timed_out(self._limit_s)
        except Exception as failure:
            error = failure
        except asyncio.CancelledError as cancelled:
            error = cancelled
            raise
        finally:
            self._residency.release(version)
            record.duration_s = record.engine_s = perf_counter() - started
            record.outcome = outcome_of(error, record)
            self._metrics.shadow_finished(record)
            if watch is not None:
                watch.ended(record, primary.passages)
            if notes is not None and self._pipeline is not None:
                self._pipeline.ended(notes, record, grounded, watch)

    def _notes(self, primary: Generation, version: str) -> Notes | None:
        if self._pipeline is None:
            return None
        call = primary.call
        notes = self._pipeline.draw(primary.resolution, call.endpoint, call.body, call.public_id, shadow=version)
        if notes is not None:
            # A copy asks for what the request asked for.
            notes.probabilities = Probabilities(hidden=False)
        return notes

    async def _generate(
        self,
        primary: Generation,
        request: EngineRequest,
        version: str,
        record: RequestRecord,
        watch: Watch | None,
        notes: Notes | None,
        grounded: Grounded | None,
    ) -> None:
        with spanning(SHADOW) as span:
            headers = request.headers
            if span is not None:
                span.describe({VERSION_NAME: version})
                headers = span.headers
            copy = EngineRequest(
                request.endpoint, shadow_body(request.body), f"{request.request_id}-shadow", version, headers
            )
            answer = await self._engine.complete(copy)
        record.engine_queue_s = copy.timings.queue_s
        if notes is not None:
            notes.answer(answer)
            if grounded is not None:
                finish_answer(grounded, copy.endpoint, answer)
        label_answer(copy.endpoint, answer, primary.resolution)
        tokens = count_tokens(answer.get("usage"))
        record.prompt_tokens, record.completion_tokens = tokens.prompt, tokens.completion
        contract = primary.contract
        unread = contract is None and watch is None and notes is None
        texts = [] if unread else list(finished_texts(copy.endpoint, answer))
        if notes is not None:
            notes.texts(texts)
        if watch is not None:
            watch.texts(texts)
        if contract is None:
            return
        for text in texts:
            violation = await asyncio.to_thread(contract.check, text.text, text.finish_reason)
            if violation is not None:
                record.contract_violation = violation.value
