"""``Pipeline``: a replica's finished requests on their way to the process that observes them.

On the request path a request is drawn when it begins, so that what comes of it has no part in it, and its record
joins a bounded queue when it has ended. A task of its own hands records over, and shows what came of them. Whatever
goes wrong there (no process, no database, no embedder) is counted, logged once, and touches no request.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from adapters.types import Role
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.observer_metrics import DROPPED, OBSERVED, SAMPLED_OUT, ObserverMetrics, Signal, Standing
from monitoring.spec import ANSWERED_OUTCOMES
from serving.config import MonitoringSettings
from serving.engine.protocol import Endpoint, JsonObject
from serving.grounding.grounded import Grounded
from serving.life.observer import Watch
from serving.life.sampling import content_of
from serving.observing.backlog import Backlog
from serving.observing.logprobs import ask
from serving.observing.notes import ANSWER, FEEDBACK, MOST_ANSWER, REPEATS, Notes, Record
from serving.observing.process import ObserverLost, ObservingWorker
from serving.settings.monitoring import DriftSettings, QualitySettings, SelfConsistencySettings
from serving.tasks import BASE, Resolution
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""How often waiting records are handed over, in seconds."""

_QUIET_S = 5.0
"""After which the process is asked how things stand though there is no record."""
_SLOW_S = 60.0
"""After which a process that has not answered is told of, in seconds; it is waited for all the same."""
_STOP_S = 5.0
"""How long an end waits for a message that is on its way, and then for the rest to be handed over, in seconds."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_JUDGED_BYTES = 65_536
_JUDGED_ANSWERS = 10_000
_MINUTE_S = 60.0
_REFUSED_FOR_LOAD = "overloaded"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is observed of the requests for one name."""

    share: float
    drift: DriftSettings | None
    quality: QualitySettings | None


class Pipeline:
    """One replica's. Everything but :meth:`start`, :meth:`stop` and :meth:`flush` is for the request path.

    Args:
        worker: looks at records.
        chance: a number from [0, 1), another one at each call.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        settings: MonitoringSettings,
        metrics: GatewayMetrics,
        worker: ObservingWorker,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._metrics = ObserverMetrics(metrics)
        self._worker = worker
        self._chance = chance
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._queue = Backlog(settings.queue)
        self._dropped = 0
        self._sampled_out = 0
        self._minute = 0
        self._drawn: dict[str, int] = {}
        """Requests drawn for the windows in this minute, by name."""
        self._judged: dict[str, None] = {}
        """Ids of answers that were judged lately."""
        self._said = ""
        self._failures = 0
        self._not_before = 0.0
        self._asked_at = -_QUIET_S
        self._stopping = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def impaired(self) -> bool:
        """Whether answers are not observed in full now."""
        return bool(self._said)

    # The request path

    def draw(
        self,
        resolution: Resolution,
        endpoint: Endpoint,
        body: JsonObject,
        request_id: str,
        *,
        shadow: str | None = None,
    ) -> Notes | None:
        """What to tell of a request; None for one that is not observed.

        Args:
            shadow: the version that gets a copy of the request, where the copy is meant.
        """
        plan = self._plan(resolution.label)
        if plan.share <= 0 or (shadow is not None and plan.quality is None):
            return None
        if plan.share < 1 and self._chance() >= plan.share:
            self._sampled_out += 1
            return None
        judge = None if plan.quality is None else plan.quality.judge
        return Notes(
            resolution,
            endpoint,
            body,
            request_id,
            adapter=shadow or resolution.adapter,
            role=Role.SHADOW if shadow is not None else resolution.role or BASE,
            is_drawn=shadow is None and self._enters(resolution, plan.drift),
            is_judged=judge is not None and self._chance() < judge.share,
        )

    def ask(self, notes: Notes, body: JsonObject) -> JsonObject:
        """The request for the engine, with what its task's quality wants to know of the answer besides."""
        quality = self._plan(notes.task).quality
        if quality is None or quality.logprobs is None:
            return body
        asking, notes.probabilities = ask(notes.endpoint, body, quality.logprobs)
        return asking

    def repeats(self, notes: Notes) -> SelfConsistencySettings | None:
        """How often a request is to be answered again; None for one that was not drawn for it."""
        quality = self._plan(notes.task).quality
        wanted = None if quality is None else quality.self_consistency
        return wanted if wanted is not None and self._chance() < wanted.share else None

    def ended(
        self, notes: Notes, record: RequestRecord, grounded: Grounded | None = None, watch: Watch | None = None
    ) -> None:
        """The request has ended, one way or another.

        Args:
            watch: what counts it for a rollout.
        """
        if record.outcome == _REFUSED_FOR_LOAD:
            self._stay_out(notes)  # a flood of them would push out what was answered
            return
        if self._queue.full:
            self._dropped += 1
            return
        if watch is not None and record.outcome in ANSWERED_OUTCOMES:
            notes.rollout = watch.rollout
        try:
            made = notes.record(record, grounded, self._settings.max_chars)
            if notes.is_judged and notes.text is not None and record.outcome in ANSWERED_OUTCOMES:
                made["judged"] = (notes.endpoint, notes.body)
            self._dropped += not self._queue.add(made)
        except Exception:  # whatever an engine or a caller wrote there: the request itself went well
            self._dropped += 1

    def answered_again(self, notes: Notes, answers: Sequence[str]) -> None:
        """Further answers to the same request."""
        found = {"answers": [answer[:MOST_ANSWER] for answer in answers]}
        self._add({"kind": REPEATS, "task": notes.task, "adapter": notes.adapter, "role": str(notes.role)} | found)

    def feedback(self, answer: str, task: str, adapter: str, role: str, score: float) -> None:
        """A caller judged an answer, in [0, 1]; a further judgment of the same one does not count again."""
        plan = self._plan(task)
        if plan.quality is not None and plan.share > 0 and answer not in self._judged:
            self._judged[answer] = None
            if len(self._judged) > _JUDGED_ANSWERS:
                del self._judged[next(iter(self._judged))]
            self._add({"kind": FEEDBACK, "task": task, "adapter": adapter, "role": role, "score": score})

    def _add(self, record: Record) -> None:
        self._queue.add(record | {"at": time.time()})

    def _plan(self, name: str) -> Plan:
        plan = self._plans.get(name)
        if plan is None:
            settings = self._settings
            drift, quality = settings.drift_of(name), settings.quality_of(name)
            share = 0.0 if drift is None and quality is None else settings.share_of(name)
            plan = self._plans[name] = Plan(share, drift, quality)
        return plan

    def _enters(self, resolution: Resolution, drift: DriftSettings | None) -> bool:
        """Whether a request enters the windows of the drift detection."""
        if drift is None or resolution.role is Role.EXACT:
            return False  # who names a version in full, such as an examination, says nothing of what the task is asked
        if drift.share < 1 and self._chance() >= drift.share:
            return False
        minute = int(self._clock() // _MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._drawn.clear()
        drawn = self._drawn.get(resolution.label, 0)
        if drawn >= drift.per_minute:
            return False
        self._drawn[resolution.label] = drawn + 1
        return True

    def _stay_out(self, notes: Notes) -> None:
        """Leave the place in the windows that a request was drawn for to another one."""
        if notes.is_drawn and self._drawn.get(notes.task, 0) > 0:
            self._drawn[notes.task] -= 1

    # Handing over

    def start(self) -> None:
        """Begin to hand records over."""
        self._task = asyncio.create_task(self._keep_handing_over(), name="observing")

    async def stop(self) -> None:
        """Hand over the rest, have it written down, and end. Safe without ``start``."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is None:
            return
        await asyncio.wait({task}, timeout=_STOP_S)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif not self._failures:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await self._flush()
        await self._worker.stop()

    async def flush(self) -> None:
        """Hand over what waits."""
        async with self._flushing:
            dropped, self._dropped = self._dropped, 0
            sampled_out, self._sampled_out = self._sampled_out, 0
            self._metrics.counted(DROPPED, dropped)
            self._metrics.counted(SAMPLED_OUT, sampled_out)
            if self._clock() < self._not_before:
                return
            while self._queue or self._clock() - self._asked_at >= _QUIET_S:
                if not await self._hand_over(self._queue.take()):
                    break

    async def _hand_over(self, batch: list[Record]) -> bool:
        """Whether it went well."""
        for record in batch:
            if (judged := record.pop("judged", None)) is not None:
                passages = record.get("grounding", {}).get("passages", ())
                with suppress(Exception):  # a conversation in a form of its own is judged by nobody
                    record["content"] = content_of(judged, record["answer"], passages, _JUDGED_BYTES)
        self._asked_at = self._clock()
        answers = sum(record["kind"] == ANSWER for record in batch)
        late = f"the observing process has not answered for {_SLOW_S:g} s"
        telling = asyncio.get_running_loop().call_later(_SLOW_S, self._tell, late)
        try:
            reply = await self._worker.observe(batch)
        except ObserverLost as error:
            pause = min(_FIRST_PAUSE_S * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
            self._failures += 1
            self._not_before = self._clock() + pause
            self._metrics.counted(DROPPED, answers)
            self._tell(str(error))
            return False
        finally:
            telling.cancel()
        self._failures = 0
        self._show(reply, answers)
        return True

    async def _keep_handing_over(self) -> None:
        while True:
            await self._flush()
            if await happens_within(self._stopping, INTERVAL_S):
                return

    async def _flush(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # its text may quote a record
            self._tell(f"handing over failed with {type(error).__name__}")

    def _show(self, reply: dict[str, Any], answers: int) -> None:
        metrics = self._metrics
        metrics.counted(OBSERVED, reply["observed"])
        metrics.counted(DROPPED, max(answers - reply["observed"], 0))
        for task, adapter, role, check, good, bad in reply["checks"]:
            metrics.checked(task, adapter, role, check, good=good, bad=bad)
        for task, adapter, logprob, entropy in reply["confidence"]:
            metrics.confident(task, adapter, logprob=logprob, entropy=entropy)
        for seconds in reply["lags"]:
            metrics.took(seconds)
        if reply["standing"] is not None:
            metrics.show(read_standing(reply["standing"]))
        self._tell(reply["problem"])

    def _tell(self, problem: str) -> None:
        """Once for each new problem, and once for the end of it."""
        self._metrics.set_up(up=not problem)
        if problem and problem != self._said:
            logger.warning("answers are not observed in full: %s", problem)
        elif self._said and not problem:
            logger.info("answers are observed in full again")
        self._said = problem


def read_standing(data: dict[str, Any]) -> Standing:
    """How things stand, as the observing process tells it."""
    return Standing(
        tuple(Signal(*signal) for signal in data["signals"]),
        {(task, window): requests for task, window, requests in data["windows"]},
        {(task, adapter): value for task, adapter, value in data["scores"]},
        {(task, adapter, part): value for task, adapter, part, value in data["parts"]},
    )
