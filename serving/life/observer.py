"""What a replica notes of finished requests: signals of versions under watch, answers that may be judged, samples.

The request path counts in memory. A task of its own writes to the database, at intervals. Counts are cumulative for
each process: a write that is lost is made up for by the next, and one that is repeated changes nothing.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable
from adapters.rollout_types import AnsweredRequest, Phase, RoleCounts, RolloutMark
from adapters.sample_records import SampleRecords
from adapters.signal_records import SignalRecords
from adapters.types import CatalogSnapshot, Role
from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.spec import ANSWERED_OUTCOMES
from serving.answers import FinishedText
from serving.config import GatewayConfig
from serving.life.latency import FIRST_TOKEN, WHOLE, bucket_of
from serving.life.refusals import is_refusal
from serving.life.sampling import Asked, Draft, Sampler
from serving.tasks import Resolution
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

PRUNE_AFTER_S = 600.0
"""How often old answers are forgotten, in seconds."""

_LONGEST_LEDGER = 50_000
"""Answers that wait to be written; beyond them the oldest are forgotten."""
_LONGEST_ID = 256
_TOOL_CALLS = ("tool_calls", "function_call")
_BAD = ("server_error", "timeout", "unavailable")
_BROKEN_OFF = "cancelled"

T = TypeVar("T")


class Watch:
    """What one request of a version under watch shows. Tell it the texts, then the end.

    Args:
        only_copied: whether the request counts only where the candidate was given a copy: else the two would be
            compared on different requests.
        draft: what becomes of the request where it is a sample.
        rollout: whose counts they are.
    """

    def __init__(
        self,
        counts: RoleCounts,
        *,
        has_contract: bool,
        refusal: str | None,
        only_copied: bool = False,
        draft: Draft | None = None,
        rollout: int | None = None,
    ) -> None:
        self._counts = counts
        self._rollout = rollout
        self._draft = draft
        self._has_contract = has_contract
        self._refusal = refusal
        self._only_copied = only_copied
        self.copied = False
        """Whether the candidate was given a copy."""
        self._refused = False
        self._incomplete = False

    @property
    def rollout(self) -> int | None:
        """The rollout that the request counts for; None where it counts for none."""
        return None if self._only_copied and not self.copied else self._rollout

    def texts(self, texts: Iterable[FinishedText]) -> None:
        """Look at whole generated texts."""
        for text in texts:
            if text.finish_reason in _TOOL_CALLS:
                continue
            self._incomplete |= text.finish_reason == "length" or not text.text.strip()
            self._refused |= is_refusal(text.text, self._refusal)
            if self._draft is not None:
                self._draft.answered(text.text)

    def ended(self, record: RequestRecord, passages: Sequence[str] = ()) -> None:
        """Count the request. What its caller got wrong says nothing of the version.

        Of one that its caller broke off, the latency counts: as what it took until then, where it may have been more.

        Args:
            passages: what retrieval put into the prompt.
        """
        if self._only_copied and not self.copied:
            return
        counts = self._counts
        if record.outcome in _BAD:
            counts.note("errors", bad=True)
            return
        if record.outcome == _BROKEN_OFF:
            counts.took(*_latency(record))
            return
        if record.outcome not in ANSWERED_OUTCOMES:
            return
        counts.note("errors", bad=False)
        counts.note("refusal", bad=self._refused)
        counts.note("incomplete", bad=self._incomplete)
        if self._has_contract:
            counts.note("contract", bad=record.contract_violation is not None)
        counts.took(*_latency(record))
        if self._draft is not None:
            self._draft.keep(passages)


def _latency(record: RequestRecord) -> tuple[str, int]:
    """Its kind and bucket. A stream without a token had it no sooner than its end."""
    if record.first_token_s is not None:
        return FIRST_TOKEN, bucket_of(record.first_token_s)
    return FIRST_TOKEN if record.streamed else WHOLE, bucket_of(record.duration_s)


class Observer:
    """One replica's. Everything but :meth:`start`, :meth:`stop` and :meth:`flush` is for the request path."""

    def __init__(self, config: GatewayConfig, catalog: Catalog, metrics: GatewayMetrics, replica: str) -> None:
        self._config = config
        self._metrics = metrics
        source = f"{replica}:{uuid.uuid4().hex[:12]}"
        self.records = SignalRecords(catalog, source)
        self._samples = SampleRecords(catalog, source)
        self._sampler = Sampler(config.adapters.rollouts)
        self._snapshot: Callable[[], CatalogSnapshot] | None = None
        self._counts: dict[tuple[int, str], RoleCounts] = {}
        self._written: dict[tuple[int, str], int] = {}
        self._answers: deque[AnsweredRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._failing = False
        # One thread: what callers say of answers is counted by reading and writing.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="observer")

    @property
    def behind(self) -> bool:
        """Whether what was counted could not be written lately."""
        return self._failing

    # The request path

    def watch(self, resolution: Resolution, snapshot: CatalogSnapshot, asked: Asked | None = None) -> Watch | None:
        """What to tell of a request; None for one that nobody counts. Without ``asked`` it is never a sample."""
        mark = snapshot.watched.get(resolution.version or "")
        if mark is None or resolution.role not in (Role.STABLE, Role.CANARY):
            return None
        return self._watch(mark, resolution.role, resolution.version or "", resolution, asked)

    def watch_shadow(
        self, version: str, resolution: Resolution, snapshot: CatalogSnapshot, asked: Asked | None = None
    ) -> Watch | None:
        """What to tell of a shadow's copy of a request."""
        mark = snapshot.watched.get(version)
        if mark is None or mark.candidate != version:
            return None
        return self._watch(mark, Role.SHADOW, version, resolution, asked)

    def answered(
        self, resolution: Resolution, snapshot: CatalogSnapshot, *, response_id: str, request_id: str, caller: str
    ) -> None:
        """Remember an answer of an adapter, so that its caller may judge it."""
        version = resolution.version
        if version is None or resolution.role is None or not self._config.feedback.enabled:
            return
        counted = resolution.role in (Role.STABLE, Role.CANARY)
        mark = snapshot.watched.get(version) if counted else None
        self._answers.append(
            AnsweredRequest(
                response_id=response_id[:_LONGEST_ID],
                request_id=request_id,
                caller=caller,
                task=resolution.label,
                alias=version.partition("@")[0],
                version=version,
                role=resolution.role,
                rollout=None if mark is None else mark.id,
                at=datetime.now(UTC),
            )
        )
        if len(self._answers) > _LONGEST_LEDGER:
            self._answers.popleft()
            self._metrics.answer_forgotten()

    def _watch(self, mark: RolloutMark, role: Role, version: str, resolution: Resolution, asked: Asked | None) -> Watch:
        key = (mark.id, role.value)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = RoleCounts()
        task = resolution.task
        retrieval = None if task is None else task.retrieval
        return Watch(
            counts,
            has_contract=task is not None and task.output is not None,
            refusal=None if retrieval is None else retrieval.refusal,
            only_copied=mark.phase is Phase.SHADOW and role is not Role.SHADOW,
            draft=None if asked is None else self._sampler.draw(mark, role, version, resolution.label, asked),
            rollout=mark.id,
        )

    # Writing

    def start(self, snapshot: Callable[[], CatalogSnapshot]) -> None:
        """Begin to write. ``snapshot``: the desired state that this replica serves by."""
        self._snapshot = snapshot
        self._task = asyncio.create_task(self._keep_writing(), name="observer")

    async def stop(self) -> None:
        """Write the rest, and end. Safe without ``start``."""
        self._stopping.set()
        if self._task is not None:
            await self._task
            with contextlib.suppress(CatalogUnavailable):
                await self.flush()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def flush(self) -> None:
        """Write what is new since the last time. Raises CatalogUnavailable; but for samples nothing is lost then."""
        async with self._flushing:
            await self._write_counts()
            await self._write_answers()
            await self._write_samples()

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run something blocking where the observer's own writes run, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _keep_writing(self) -> None:
        settings, loop = self._config.feedback, asyncio.get_running_loop()
        pruned = loop.time()
        while not await happens_within(self._stopping, self._config.life.flush_interval_s):
            try:
                await self.flush()
                if loop.time() - pruned > PRUNE_AFTER_S:
                    pruned = loop.time()
                    await self.in_thread(lambda: self.records.prune_ledger(settings.keep_days, settings.keep_requests))
                    await self.in_thread(self._samples.prune)
            except CatalogUnavailable as error:
                if not self._failing:
                    logger.warning("what was counted is not written yet: %s", error)
                self._failing = True
            except Exception:
                logger.exception("writing what was counted failed; trying again")
            else:
                self._failing = False

    async def _write_counts(self) -> None:
        new = {key: counts for key, counts in self._counts.items() if self._written.get(key) != _size(counts)}
        if new:
            sizes = {key: _size(counts) for key, counts in new.items()}
            rows = {key: counts.to_json() for key, counts in new.items()}
            await self.in_thread(lambda: self.records.write(rows))
            self._written |= sizes
        watched = set() if self._snapshot is None else {mark.id for mark in self._snapshot().watched.values()}
        for key in [key for key in self._counts if key[0] not in watched and key not in new]:
            del self._counts[key]
            self._written.pop(key, None)

    async def _write_answers(self) -> None:
        if not self._answers:
            return
        waiting, self._answers = self._answers, deque()
        try:
            await self.in_thread(lambda: self.records.append(waiting))
        except CatalogUnavailable:
            self._answers.extendleft(reversed(waiting))
            raise

    async def _write_samples(self) -> None:
        samples = self._sampler.take()
        if not samples:
            return
        # What cannot be written now is let go: it may have been written all the same, and must not count twice.
        await self.in_thread(lambda: self._samples.add(samples))


def _size(counts: RoleCounts) -> int:
    """A number that grows with every request counted."""
    requests = sum(n for n, _ in counts.signals.values())
    return requests + sum(sum(found.values()) for found in counts.seconds.values())
