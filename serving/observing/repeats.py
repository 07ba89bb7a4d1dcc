"""Sampled requests answered again, so that the answers can be held against each other: self-consistency.

A model that answers alike when it is asked again is more often right than one that does not (Wang et al.,
"Self-Consistency Improves Chain of Thought Reasoning in Language Models", ICLR 2023; Manakul et al., "SelfCheckGPT",
EMNLP 2023). The answers are seen by nobody and charged to nobody.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from serving.accounting import Generation, Residency
from serving.admission import Admission
from serving.answers import finished_texts, label_answer
from serving.engine.protocol import Engine, EngineRequest, JsonObject
from serving.observing.pipeline import Pipeline
from serving.settings.monitoring import SelfConsistencySettings
from serving.shaping import shadow_body

HIGHEST_LOAD = 0.5
"""Share of the gateway's places that callers may take before nothing is answered again."""
MOST_AT_ONCE = 2
"""Requests that are answered again at the same time."""
ADAPTER_WAIT_S = 1.0

_HOUR_S = 3600.0
_LEFT_OUT = ("seed", "n", "best_of", "logprobs", "top_logprobs", "include")


class Repeats:
    """One replica's. A repetition never delays or fails the request that it was made from.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        engine: Engine,
        residency: Residency,
        admission: Admission,
        pipeline: Pipeline,
        limit_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._residency = residency
        self._admission = admission
        self._pipeline = pipeline
        self._limit_s = limit_s
        self._clock = clock
        self._begun: dict[str, deque[float]] = {}
        """By task: when requests were answered again within the last hour."""
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, primary: Generation, request: EngineRequest) -> None:
        """Have a request answered again, where it was drawn and there is room."""
        notes = primary.notes
        settings = None if notes is None else self._pipeline.repeats(notes)
        if settings is None or self._admission.load > HIGHEST_LOAD or len(self._running) >= MOST_AT_ONCE:
            return
        if not self._has_budget(primary.record.task, settings.requests_per_hour):
            return
        task = asyncio.create_task(self._run(primary, request, settings))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End every repetition."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _has_budget(self, task: str, per_hour: int) -> bool:
        begun, now = self._begun.setdefault(task, deque()), self._clock()
        while begun and now - begun[0] >= _HOUR_S:
            begun.popleft()
        if len(begun) >= per_hour:
            return False
        begun.append(now)
        return True

    async def _run(self, primary: Generation, request: EngineRequest, settings: SelfConsistencySettings) -> None:
        version, notes = primary.resolution.version, primary.notes
        try:
            if version is not None:
                await self._residency.acquire(version, ADAPTER_WAIT_S)
        except Exception:  # there is no room for it now
            return
        try:
            async with asyncio.timeout(self._limit_s):
                answers = [await self._answer(primary, request, settings, place) for place in range(settings.answers)]
        except Exception:  # the engine's trouble shows in the requests of callers
            return
        finally:
            if version is not None:
                self._residency.release(version)
        texts = [answer for answer in answers if answer is not None]
        if notes is not None and len(texts) == len(answers):
            self._pipeline.answered_again(notes, texts)

    async def _answer(
        self, primary: Generation, request: EngineRequest, settings: SelfConsistencySettings, place: int
    ) -> str | None:
        """One further answer's text; None for one that has none, such as a tool call."""
        name = f"{request.request_id}-again-{place}"
        body = repeated(request.body, settings.temperature)
        answer = await self._engine.complete(
            EngineRequest(request.endpoint, body, name, request.adapter, request.headers)
        )
        label_answer(request.endpoint, answer, primary.resolution)
        return next((text.text for text in finished_texts(request.endpoint, answer)), None)


def repeated(body: JsonObject, temperature: float) -> JsonObject:
    """The same request, to be answered whole, once and at random."""
    return {name: value for name, value in shadow_body(body).items() if name not in _LEFT_OUT} | {
        "temperature": temperature
    }
