"""The recorder that fills the catalogue's metrics for one replica. Nothing here is global."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from monitoring.catalogue import (
    ADAPTER_IN_FLIGHT,
    ADAPTER_LOAD,
    ADAPTER_LOAD_FAILURES,
    ADAPTER_RESIDENT,
    ADAPTER_SWAPS,
    ADAPTER_UNLOADS,
    ADAPTER_WAIT,
    ANSWERS_FORGOTTEN,
    BASE,
    BUDGET_USED,
    CATALOG_REACHABLE,
    CATALOGUE,
    CITATIONS,
    COMPLETION_TOKENS,
    CONTRACT_VIOLATIONS,
    DOCUMENT_AGE,
    DROPPED_CITATIONS,
    DURATION,
    EXPIRED_DOCUMENTS,
    FEEDBACK,
    GATEWAY,
    IN_FLIGHT,
    INTER_TOKEN,
    OVERHEAD,
    PROMPT_TOKENS,
    REFUSED,
    REQUESTS,
    RETRIEVAL_TIME,
    RETRIEVALS,
    ROLLOUT_DECISIONS,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    SHADOW_DROPPED,
    SILENT_REPLICAS,
    STREAM_ERRORS,
    TTFT,
    UNSUPPORTED_CLAIMS,
    WAITING,
    MetricSpec,
)

__all__ = ["BASE", "CATALOGUE", "GatewayMetrics", "MetricSpec", "RequestRecord", "Residency", "RetrievalRecord"]


class Residency(Protocol):
    """One replica's account of one adapter version, as ``set_residency`` reads it."""

    @property
    def version(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def in_flight(self) -> int: ...


@dataclass(slots=True)
class RequestRecord:
    """What one generation did. Times are in seconds."""

    task: str
    adapter: str = BASE
    role: str = BASE
    outcome: str = "ok"
    duration_s: float = 0.0
    engine_s: float = 0.0
    """Time spent waiting for the engine."""
    adapter_wait_s: float = 0.0
    retrieval_s: float = 0.0
    """Time spent waiting for the search for passages."""
    client_s: float = 0.0
    """Time spent waiting for the client to take what was sent."""
    streamed: bool = False
    """Whether the answer is one that is streamed."""
    first_token_s: float | None = None
    """From arrival to the first token; None for an answer that is not streamed."""
    gaps_s: list[float] = field(default_factory=list)
    """Between consecutive deltas of a stream."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    contract_violation: str | None = None
    stream_error: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalRecord:
    """What looking for one generation's passages came to."""

    task: str
    outcome: str
    seconds: Mapping[str, float]
    """By stage."""
    ages_s: Sequence[float] = ()
    """Of the content of each passage given, in seconds."""
    expired: int = 0
    """Documents left out because they have expired."""
    budget_used: float | None = None
    """Share of the token budget, from 0 to 1; None where no passage was given."""


@dataclass(frozen=True, slots=True)
class _AnswerSeries:
    """The children for one (task, adapter, role): looking them up costs more than counting."""

    outcomes: dict[str, Counter]
    ttft: Histogram
    inter_token: Histogram
    duration: Histogram
    overhead: Histogram
    adapter_wait: Histogram
    prompt_tokens: Counter
    completion_tokens: Counter


class _WithoutCreated:
    """A registry's view without the ``_created`` samples, which would double the number of series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            created = f"{family.name}_created"
            family.samples = [sample for sample in family.samples if sample.name != created]
            yield family


class Rollout(Protocol):
    """One automatic rollout, as ``set_rollouts`` reads it."""

    @property
    def alias(self) -> str: ...
    @property
    def candidate(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def share(self) -> float: ...


class GatewayMetrics:
    """One replica's metrics. Methods are cheap and may be called from any thread."""

    def __init__(self, registry: CollectorRegistry, *, replica: str) -> None:
        self._registry = registry
        self._replica = replica
        self._families: dict[str, Counter | Gauge | Histogram] = {
            spec.name: build_family(spec, registry) for spec in GATEWAY
        }
        self._answers: dict[tuple[str, str, str], _AnswerSeries] = {}
        self._in_flight: dict[str, Gauge] = {}
        self._waiting: dict[str, Gauge] = {}
        self._resident: set[tuple[str, str, str]] = set()
        self._rollouts: set[tuple[str, str, str]] = set()

    def request_started(self, task: str) -> None:
        """A generation was admitted. Pair with :meth:`request_finished`."""
        gauge = self._in_flight.get(task)
        if gauge is None:
            gauge = self._in_flight[task] = self._gauge(IN_FLIGHT, task)
        gauge.inc()

    def adapter_wait_started(self, task: str) -> None:
        """A generation began to wait for its adapter. Pair with :meth:`adapter_wait_ended`."""
        gauge = self._waiting.get(task)
        if gauge is None:
            gauge = self._waiting[task] = self._gauge(WAITING, task)
        gauge.inc()

    def adapter_wait_ended(self, task: str) -> None:
        """The wait is over, whatever came of it."""
        self._waiting[task].dec()

    def request_finished(self, record: RequestRecord) -> None:
        """A generation that had been started ended, one way or another."""
        self._in_flight[record.task].dec()
        self._count(record)

    def shadow_finished(self, record: RequestRecord) -> None:
        """A shadow copy ended. It never counted as in flight."""
        self._count(record)

    def request_refused(self, code: str) -> None:
        """A request ended before its model was known. ``code`` comes from the error table."""
        self._counter(REFUSED, code).inc()

    def shadow_dropped(self, task: str, version: str, reason: str) -> None:
        """A shadow copy was not run."""
        self._counter(SHADOW_DROPPED, task, version, reason).inc()

    def retrieval_finished(self, record: RetrievalRecord) -> None:
        """A generation's passages were looked for."""
        self._counter(RETRIEVALS, record.task, record.outcome).inc()
        for stage, seconds in record.seconds.items():
            self._histogram(RETRIEVAL_TIME, stage).observe(seconds)
        for age_s in record.ages_s:
            self._histogram(DOCUMENT_AGE, record.task).observe(max(age_s, 0.0))
        self._counter(EXPIRED_DOCUMENTS, record.task).inc(record.expired)
        if record.budget_used is not None:
            self._histogram(BUDGET_USED, record.task).observe(record.budget_used)

    def answer_grounded(self, task: str, citations: int, dropped: int, unsupported: int) -> None:
        """An answer with passages ended: its citations, those of passages not given, and claims found nowhere."""
        self._counter(CITATIONS, task).inc(citations)
        self._counter(DROPPED_CITATIONS, task).inc(dropped)
        self._counter(UNSUPPORTED_CLAIMS, task).inc(unsupported)

    def adapter_loaded(self, version: str, tier: str, seconds: float) -> None:
        """A version was loaded into the engine from ``tier``."""
        self._histogram(ADAPTER_LOAD, version, tier).observe(seconds)

    def adapter_load_failed(self, version: str, code: str) -> None:
        """A version could not be loaded."""
        self._counter(ADAPTER_LOAD_FAILURES, version, code).inc()

    def adapter_unloaded(self, version: str, reason: str) -> None:
        """A version left the engine: ``evicted`` or ``retired``."""
        self._counter(ADAPTER_UNLOADS, version, reason).inc()

    def adapter_swapped(self, alias: str, action: str) -> None:
        """An alias points at something else since now."""
        self._counter(ADAPTER_SWAPS, alias, action).inc()

    def feedback_given(self, task: str, version: str, role: str, *, good: bool) -> None:
        """A caller judged an answer."""
        self._counter(FEEDBACK, task, version, role, "up" if good else "down").inc()

    def answer_forgotten(self) -> None:
        """An answer was not written down, and can be judged by nobody."""
        self._counter(ANSWERS_FORGOTTEN).inc()

    def rollout_decided(self, alias: str, decision: str) -> None:
        """An automatic rollout entered another phase, or another step."""
        self._counter(ROLLOUT_DECISIONS, alias, decision).inc()

    def set_rollouts(self, rollouts: Iterable[Rollout]) -> None:
        """Replace what is known of automatic rollouts by ``rollouts``, one for each alias."""
        present = {(each.alias, each.candidate, str(each.phase)): each.share for each in rollouts}
        for gone in self._rollouts - present.keys():
            self._families[ROLLOUT_PHASE.name].remove_by_labels(
                {"alias": gone[0], "adapter": gone[1], "phase": gone[2]}
            )
            self._families[ROLLOUT_SHARE.name].remove_by_labels({"alias": gone[0], "adapter": gone[1]})
        for (alias, candidate, phase), share in present.items():
            self._gauge(ROLLOUT_PHASE, alias, candidate, phase).set(1)
            self._gauge(ROLLOUT_SHARE, alias, candidate).set(share)
        self._rollouts = set(present)

    def set_catalog_reachable(self, *, reachable: bool) -> None:
        """Whether the desired state can be read now."""
        self._gauge(CATALOG_REACHABLE).set(1 if reachable else 0)

    def set_residency(self, holdings: Sequence[Residency]) -> None:
        """Replace what is known of residency by ``holdings``."""
        present = {(holding.version, str(holding.tier), str(holding.status)) for holding in holdings}
        in_flight = {holding.version: holding.in_flight for holding in holdings}
        for gone in self._resident - present:
            self._families[ADAPTER_RESIDENT.name].remove(self._replica, *gone)
        for version in {version for version, _, _ in self._resident} - in_flight.keys():
            self._families[ADAPTER_IN_FLIGHT.name].remove(self._replica, version)
        for labels in present - self._resident:
            self._gauge(ADAPTER_RESIDENT, *labels).set(1)
        for version, count in in_flight.items():
            self._gauge(ADAPTER_IN_FLIGHT, version).set(count)
        self._resident = present

    def forget_adapter(self, version: str) -> None:
        """Drop every series of a version that the catalog no longer knows, so that their number stays bounded."""
        for spec in GATEWAY:
            if "adapter" in spec.labels:
                self._families[spec.name].remove_by_labels({"adapter": version})
        self._answers = {key: series for key, series in self._answers.items() if key[1] != version}
        self._resident = {labels for labels in self._resident if labels[0] != version}

    def set_silent_replicas(self, count: int) -> None:
        """How many other replicas did not answer the scrape that is being made."""
        self._gauge(SILENT_REPLICAS).set(count)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return render(self._registry)

    def _count(self, record: RequestRecord) -> None:
        series = self._series(record.task, record.adapter, record.role)
        outcome = series.outcomes.get(record.outcome)
        if outcome is None:
            labels = (record.task, record.adapter, record.role, record.outcome)
            outcome = series.outcomes[record.outcome] = self._counter(REQUESTS, *labels)
        outcome.inc()
        series.duration.observe(record.duration_s)
        own = record.duration_s - record.engine_s - record.adapter_wait_s - record.retrieval_s - record.client_s
        series.overhead.observe(max(own, 0.0))
        if record.adapter != BASE:
            series.adapter_wait.observe(record.adapter_wait_s)
        if record.prompt_tokens:
            series.prompt_tokens.inc(record.prompt_tokens)
        if record.completion_tokens:
            series.completion_tokens.inc(record.completion_tokens)
        if record.first_token_s is not None:
            series.ttft.observe(record.first_token_s)
        for gap in record.gaps_s:
            series.inter_token.observe(gap)
        if record.contract_violation is not None:
            self._counter(CONTRACT_VIOLATIONS, record.task, record.adapter, record.contract_violation).inc()
        if record.stream_error:
            self._counter(STREAM_ERRORS, record.task, record.adapter).inc()

    def _series(self, task: str, adapter: str, role: str) -> _AnswerSeries:
        key = (task, adapter, role)
        series = self._answers.get(key)
        if series is None:
            series = self._answers[key] = _AnswerSeries(
                outcomes={},
                ttft=self._histogram(TTFT, *key),
                inter_token=self._histogram(INTER_TOKEN, *key),
                duration=self._histogram(DURATION, *key),
                overhead=self._histogram(OVERHEAD, task),
                adapter_wait=self._histogram(ADAPTER_WAIT, task, adapter),
                prompt_tokens=self._counter(PROMPT_TOKENS, *key),
                completion_tokens=self._counter(COMPLETION_TOKENS, *key),
            )
        return series

    def _counter(self, spec: MetricSpec, *labels: str) -> Counter:
        family = self._families[spec.name]
        assert isinstance(family, Counter)  # noqa: S101  (narrows a type that CATALOGUE decides)
        return family.labels(self._replica, *labels)

    def _gauge(self, spec: MetricSpec, *labels: str) -> Gauge:
        family = self._families[spec.name]
        assert isinstance(family, Gauge)  # noqa: S101
        return family.labels(self._replica, *labels)

    def _histogram(self, spec: MetricSpec, *labels: str) -> Histogram:
        family = self._families[spec.name]
        assert isinstance(family, Histogram)  # noqa: S101
        return family.labels(self._replica, *labels)


def render(registry: CollectorRegistry) -> bytes:
    """Everything in a registry, in Prometheus' text format."""
    return generate_latest(_WithoutCreated(registry))


def build_family(spec: MetricSpec, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    """The metric that ``spec`` describes."""
    labels = ("replica", *spec.labels)
    match spec.kind:
        case "counter":
            return Counter(spec.name, spec.help, labels, registry=registry)
        case "gauge":
            return Gauge(spec.name, spec.help, labels, registry=registry)
        case "histogram":
            return Histogram(spec.name, spec.help, labels, registry=registry, buckets=spec.buckets)
