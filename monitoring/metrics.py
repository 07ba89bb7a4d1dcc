"""The recorder that fills the catalogue's metrics for one replica. Nothing here is global."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from monitoring.catalogue import (
    ADAPTER_IN_FLIGHT,
    ADAPTER_LOAD,
    ADAPTER_LOAD_FAILURES,
    ADAPTER_RESIDENT,
    ADAPTER_SWAPS,
    ADAPTER_UNLOADS,
    ADAPTER_WAIT,
    ANSWERS_FORGOTTEN,
    BUILD_INFO,
    CATALOG_REACHABLE,
    CATALOGUE,
    COMPLETION_TOKENS,
    CONTRACT_VIOLATIONS,
    DURATION,
    ENGINE_SERIES_MISSING,
    FEEDBACK,
    GATEWAY,
    IN_FLIGHT,
    INTER_TOKEN,
    LOG_LINES_LOST,
    OVERHEAD,
    PROMPT_TOKENS,
    QUEUE,
    REFUSED,
    REQUESTS,
    ROLLOUT_DECISIONS,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    SHADOW_DROPPED,
    SILENT_REPLICAS,
    SLO_REQUESTS,
    SPANS,
    STREAM_ERRORS,
    TTFT,
    WAITING,
)
from monitoring.catalogue_knowledge import (
    BUDGET_USED,
    CITATIONS,
    DOCUMENT_AGE,
    DROPPED_CITATIONS,
    EXPIRED_DOCUMENTS,
    RETRIEVAL_TIME,
    RETRIEVALS,
    UNSUPPORTED_CLAIMS,
)
from monitoring.families import SERIES_PER_FAMILY, CounterChild, GaugeFamily, HistogramChild
from monitoring.recorder import Recorder
from monitoring.records import CurrentTrace, RequestRecord, Residency, RetrievalRecord, Rollout, no_trace
from monitoring.slo import BAD, GOOD, Objective, is_good
from monitoring.spec import BASE, MetricSpec

__all__ = ["BASE", "CATALOGUE", "GatewayMetrics", "MetricSpec", "RequestRecord", "Residency", "RetrievalRecord"]

FORGET_AFTER_S = 3600.0
"""How long the series of a version stay after its last request, where nothing else is said, in seconds."""

_MOST_CACHED = 4096
"""Combinations of task, version and role whose series are at hand; more than a replica has, unless someone makes them
up."""
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _AnswerSeries:
    """The children for one (task, adapter, role): looking them up costs more than counting."""

    outcomes: dict[str, CounterChild]
    ttft: HistogramChild
    inter_token: HistogramChild
    duration: HistogramChild
    overhead: HistogramChild
    queue: HistogramChild
    adapter_wait: HistogramChild
    prompt_tokens: CounterChild
    completion_tokens: CounterChild


@dataclass(frozen=True, slots=True)
class _ObjectiveSeries:
    """An objective and its two children, there from the start: a rate needs the zero before the first count."""

    objective: Objective
    good: CounterChild
    bad: CounterChild


class GatewayMetrics(Recorder):
    """One replica's metrics. Methods are cheap and may be called from any thread.

    Args:
        series_per_family: most series of one family, buckets counted; see :mod:`monitoring.families`.
        forget_after_s: how long the series of a version that is no longer kept stay after its last request, in
            seconds; a scrape must have seen them.
        objectives: what is promised of tasks; their requests are counted as good or bad.
        trace: names the trace of the request that is being counted.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        replica: str,
        series_per_family: int = SERIES_PER_FAMILY,
        forget_after_s: float = FORGET_AFTER_S,
        objectives: Iterable[Objective] = (),
        trace: CurrentTrace = no_trace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(registry, GATEWAY, replica=replica, series_per_family=series_per_family)
        self._forget_after_s = forget_after_s
        self.trace = trace
        """Names the current trace; whoever keeps traces may replace it."""
        self._clock = clock
        self._answers: dict[tuple[str, str, str], _AnswerSeries] = {}
        self._used: dict[str, float] = {}
        self._resident: set[tuple[str, str, str]] = set()
        self._rollouts: set[tuple[str, str, str]] = set()
        self._objectives: dict[str, list[_ObjectiveSeries]] = {}
        for objective in objectives:
            labels = (objective.task, objective.slo)
            series = _ObjectiveSeries(
                objective, self.counter(SLO_REQUESTS, *labels, GOOD), self.counter(SLO_REQUESTS, *labels, BAD)
            )
            self._objectives.setdefault(objective.task, []).append(series)

    def request_started(self, task: str) -> None:
        """A generation was admitted. Pair with :meth:`request_finished`."""
        self.gauge(IN_FLIGHT, task).inc()

    def adapter_wait_started(self, task: str) -> None:
        """A generation began to wait for its adapter. Pair with :meth:`adapter_wait_ended`."""
        self.gauge(WAITING, task).inc()

    def adapter_wait_ended(self, task: str) -> None:
        """The wait is over, whatever came of it."""
        self.gauge(WAITING, task).dec()

    def request_finished(self, record: RequestRecord) -> None:
        """A generation that had been started ended, one way or another."""
        self.gauge(IN_FLIGHT, record.task).dec()
        self._count(record)
        for series in self._objectives.get(record.task, ()):
            good = is_good(series.objective, record)
            if good is not None:
                (series.good if good else series.bad).inc()

    def shadow_finished(self, record: RequestRecord) -> None:
        """A shadow copy ended. It never counted as in flight."""
        self._count(record)

    def request_refused(self, code: str) -> None:
        """A request ended before its model was known. ``code`` comes from the error table."""
        self.counter(REFUSED, code).inc()

    def shadow_dropped(self, task: str, version: str, reason: str) -> None:
        """A shadow copy was not run."""
        self.counter(SHADOW_DROPPED, task, version, reason).inc()
        self._use(version)

    def retrieval_finished(self, record: RetrievalRecord) -> None:
        """A generation's passages were looked for."""
        task, trace_id = record.task, self._trace_id(None)
        self.counter(RETRIEVALS, task, record.outcome).inc()
        for stage, seconds in record.seconds.items():
            self.histogram(RETRIEVAL_TIME, task, stage).observe(seconds, trace_id)
        if record.ages_s:
            self.histogram(DOCUMENT_AGE, task).observe_all([max(age_s, 0.0) for age_s in record.ages_s])
        self.counter(EXPIRED_DOCUMENTS, task).inc(record.expired)
        if record.budget_used is not None:
            self.histogram(BUDGET_USED, task).observe(record.budget_used)

    def answer_grounded(self, task: str, citations: int, dropped: int, unsupported: int) -> None:
        """An answer with passages ended: its citations, those of passages not given, and claims found nowhere."""
        self.counter(CITATIONS, task).inc(citations)
        self.counter(DROPPED_CITATIONS, task).inc(dropped)
        self.counter(UNSUPPORTED_CLAIMS, task).inc(unsupported)

    def adapter_loaded(self, version: str, tier: str, seconds: float) -> None:
        """A version was loaded into the engine from ``tier``."""
        self.histogram(ADAPTER_LOAD, version, tier).observe(seconds)
        self._use(version)

    def adapter_load_failed(self, version: str, code: str) -> None:
        """A version could not be loaded."""
        self.counter(ADAPTER_LOAD_FAILURES, version, code).inc()
        self._use(version)

    def adapter_unloaded(self, version: str, reason: str) -> None:
        """A version left the engine: ``evicted`` or ``retired``."""
        self.counter(ADAPTER_UNLOADS, version, reason).inc()
        self._use(version)

    def adapter_swapped(self, alias: str, action: str) -> None:
        """An alias points at something else since now."""
        self.counter(ADAPTER_SWAPS, alias, action).inc()

    def feedback_given(self, task: str, version: str, role: str, *, good: bool) -> None:
        """A caller judged an answer."""
        self.counter(FEEDBACK, task, version, role, "up" if good else "down").inc()
        self._use(version)

    def answer_forgotten(self) -> None:
        """An answer was not written down, and can be judged by nobody."""
        self.counter(ANSWERS_FORGOTTEN).inc()

    def rollout_decided(self, alias: str, decision: str) -> None:
        """An automatic rollout entered another phase, or another step."""
        self.counter(ROLLOUT_DECISIONS, alias, decision).inc()

    def spans_ended(self, result: str, count: int) -> None:
        """``count`` spans were ``exported``, ``failed`` or ``dropped``."""
        self.counter(SPANS, result).inc(count)

    def log_lines_lost(self, count: int) -> None:
        """``count`` more lines of the log were never written."""
        self.counter(LOG_LINES_LOST).inc(count)

    def set_rollouts(self, rollouts: Iterable[Rollout]) -> None:
        """Replace what is known of automatic rollouts by ``rollouts``, one for each alias."""
        present = {(each.alias, each.candidate, str(each.phase)): each.share for each in rollouts}
        for alias, candidate, phase in self._rollouts - present.keys():
            gone = {"alias": alias, "adapter": candidate}
            self.remove(ROLLOUT_PHASE, gone | {"phase": phase})
            self.remove(ROLLOUT_SHARE, gone)
        for (alias, candidate, phase), share in present.items():
            self.gauge(ROLLOUT_PHASE, alias, candidate, phase).set(1)
            self.gauge(ROLLOUT_SHARE, alias, candidate).set(share)
        self._rollouts = set(present)

    def set_catalog_reachable(self, *, reachable: bool) -> None:
        """Whether the desired state can be read now."""
        self.gauge(CATALOG_REACHABLE).set(1 if reachable else 0)

    def set_residency(self, holdings: Sequence[Residency]) -> None:
        """Replace what is known of residency by ``holdings``."""
        present = {(holding.version, str(holding.tier), str(holding.status)) for holding in holdings}
        in_flight = {holding.version: holding.in_flight for holding in holdings}
        for version, tier, status in self._resident - present:
            gone = {"adapter": version, "tier": tier, "status": status}
            self.remove(ADAPTER_RESIDENT, gone)
        for version in {version for version, _, _ in self._resident} - in_flight.keys():
            self.remove(ADAPTER_IN_FLIGHT, {"adapter": version})
        for labels in present - self._resident:
            self.gauge(ADAPTER_RESIDENT, *labels).set(1)
        for version, count in in_flight.items():
            self.gauge(ADAPTER_IN_FLIGHT, version).set(count)
        self._resident = present

    def set_build(self, version: str, vllm: str, base_model: str) -> None:
        """What runs here: the gateway's version, its vLLM's (empty for another engine), and the base model."""
        self.gauge(BUILD_INFO, version, vllm, base_model).set(1)

    def set_missing_engine_series(self, names: Iterable[str]) -> None:
        """Families of the engine that ought to be there and are not."""
        for name in names:
            self.gauge(ENGINE_SERIES_MISSING, name).set(1)

    def version_used(self, version: str) -> None:
        """Something was measured of a version, or of the base model, outside of a request."""
        if version != BASE:
            self._use(version)

    def forget_idle(self, kept: Collection[str]) -> None:
        """Drop the counters and histograms of versions that are not in ``kept`` and were last used long enough ago."""
        now = self._clock()
        for version in kept:
            if version in self._used:
                self._used[version] = now
        idle = {version for version, used_at in list(self._used.items()) if now - used_at >= self._forget_after_s}
        if idle:
            self.forget(idle)

    def forget(self, versions: Collection[str]) -> None:
        """Drop the counters and histograms of versions, so that their number stays bounded.

        Gauges stay: whoever sets them replaces them as a whole.
        """
        for family in self._families.values():
            if "adapter" in family.spec.labels and not isinstance(family, GaugeFamily):
                family.remove_values("adapter", versions)
        for version in versions:
            self._used.pop(version, None)
        self._answers = {key: series for key, series in self._answers.items() if key[1] not in versions}

    def set_silent_replicas(self, count: int) -> None:
        """How many other replicas did not answer the scrape that is being made."""
        self.gauge(SILENT_REPLICAS).set(count)

    def _count(self, record: RequestRecord) -> None:
        series = self._series(record.task, record.adapter, record.role)
        trace_id = self._trace_id(record.trace_id)
        outcome = series.outcomes.get(record.outcome)
        if outcome is None:
            labels = (record.task, record.adapter, record.role, record.outcome)
            outcome = series.outcomes[record.outcome] = self.counter(REQUESTS, *labels)
        outcome.inc()
        series.duration.observe(record.duration_s, trace_id)
        own = record.duration_s - record.engine_s - record.adapter_wait_s - record.retrieval_s - record.client_s
        series.overhead.observe(max(own, 0.0), trace_id)
        if (queue_s := record.queue_s) is not None:
            series.queue.observe(queue_s, trace_id)
        if record.adapter != BASE:
            series.adapter_wait.observe(record.adapter_wait_s, trace_id)
            self._use(record.adapter)
        if record.prompt_tokens:
            series.prompt_tokens.inc(record.prompt_tokens)
        if record.completion_tokens:
            series.completion_tokens.inc(record.completion_tokens)
        if record.first_token_s is not None:
            series.ttft.observe(record.first_token_s, trace_id)
        series.inter_token.observe_all(record.gaps_s, trace_id)
        if record.contract_violation is not None:
            self.counter(CONTRACT_VIOLATIONS, record.task, record.adapter, record.contract_violation).inc()
        if record.stream_error:
            self.counter(STREAM_ERRORS, record.task, record.adapter).inc()

    def _series(self, task: str, adapter: str, role: str) -> _AnswerSeries:
        key = (task, adapter, role)
        series = self._answers.get(key)
        if series is None:
            series = _AnswerSeries(
                outcomes={},
                ttft=self.histogram(TTFT, *key),
                inter_token=self.histogram(INTER_TOKEN, *key),
                duration=self.histogram(DURATION, *key),
                overhead=self.histogram(OVERHEAD, task),
                queue=self.histogram(QUEUE, task, adapter),
                adapter_wait=self.histogram(ADAPTER_WAIT, task, adapter),
                prompt_tokens=self.counter(PROMPT_TOKENS, *key),
                completion_tokens=self.counter(COMPLETION_TOKENS, *key),
            )
            if len(self._answers) < _MOST_CACHED:
                self._answers[key] = series
        return series

    def _use(self, version: str) -> None:
        if version in self._used or len(self._used) < _MOST_CACHED:
            self._used[version] = self._clock()

    def _trace_id(self, given: str | None) -> str | None:
        trace_id = self.trace() if given is None else given
        return trace_id if trace_id is not None and _TRACE_ID.fullmatch(trace_id) else None
