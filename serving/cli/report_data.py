"""What ``loraplex report`` tells: from a Prometheus over time, or from what the gateway itself knows now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.catalogue import ADAPTER_SWAPS, COMPLETION_TOKENS, DURATION, REQUESTS, TTFT
from monitoring.catalogue_knowledge import DOCUMENT_AGE, RETRIEVALS
from monitoring.catalogue_observing import DRIFT_DETECTED, DRIFT_EFFECT, DRIFT_P_VALUE, QUALITY_PART, QUALITY_SCORE
from monitoring.dashboards.promql import Fold, Match, Scope, differs, equals, one_of
from monitoring.readings import Exposition, grouped, histograms, quantile, spread
from monitoring.spec import FAILED_OUTCOMES, MetricSpec
from serving.cli.prometheus import Prometheus, Series

_POINTS = 240
"""Most points of a line."""
_STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_SHORTEST_WINDOW_S = 240.0
"""A rate needs two scrapes: enough for one scrape a minute, and a lost one."""
_VERSION = ("task", "adapter", "role")
_SCORED = ("task", "adapter")
_SIGNAL = ("task", "signal")
_QUANTILES = ((0.5, "p50"), (0.95, "p95"))

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a report is about. All in seconds, moments since 1970."""

    start: float
    end: float
    step_s: float
    """Between two points."""
    window_s: float
    """That rates and quantiles at a point are over."""


@dataclass(frozen=True, slots=True)
class Totals:
    """One version under one task and role, over the whole time. None: nothing was measured."""

    task: str
    adapter: str
    role: str
    requests: float
    failed: float
    tokens: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    duration_p50_s: float | None
    duration_p95_s: float | None
    quality: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """One signal of one task, now. None: not measured."""

    task: str
    signal: str
    effect: float | None
    p_value: float | None
    detected: float
    """Share of the time in which it was detected; without a Prometheus 0 or 1, now."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an adapter."""

    at: float
    """Unix seconds."""
    who: str
    what: str
    alias: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the page shows."""

    span: Span
    source: str
    """Where the numbers are from, in words."""
    over_time: bool
    """Whether there are lines, or only totals since the replicas started."""
    totals: tuple[Totals, ...]
    outcomes: Mapping[str, Mapping[str, float]]
    """Requests by task, then by outcome. Shadows do not count."""
    lines: Mapping[str, Sequence[Series]] = field(default_factory=dict)
    """By the names in :func:`over_time`."""
    drift: tuple[Drift, ...] = ()
    parts: Mapping[Key, float] = field(default_factory=dict)
    """Of the output quality, by task, adapter and part."""
    retrievals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By task, then by outcome."""
    ages_s: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Median and 95th percentile of the age of the passages given, by task."""
    events: tuple[Event, ...] = ()
    """The oldest first."""
    notes: tuple[str, ...] = ()


def span_of(since_s: float, end: float) -> Span:
    """The last ``since_s`` seconds before ``end``, in steps that make at most 240 points."""
    step_s = next((step for step in _STEPS_S if since_s / step <= _POINTS), since_s / _POINTS)
    return Span(end - since_s, end, step_s, max(step_s, _SHORTEST_WINDOW_S))


def over_time(window_s: float, job: str | None = None) -> dict[str, str]:
    """The queries of lines, by name: each point is over the ``window_s`` seconds before it."""
    scope = _scope(window_s, job)
    callers = Scope(scope.job, scope.window, {"role": differs("shadow")})
    queries = {
        "requests": callers.rate(REQUESTS, "task"),
        "errors": callers.share(REQUESTS, "task", outcome=one_of(*FAILED_OUTCOMES)),
        "drift": scope.now(DRIFT_EFFECT, *_SIGNAL, how="max"),
        "quality": scope.now(QUALITY_SCORE, *_SCORED, how="min"),
    }
    for q, word in _QUANTILES:
        queries[f"ttft_{word}"] = callers.quantile(q, TTFT, *_SCORED)
        queries[f"duration_{word}"] = callers.quantile(q, DURATION, *_SCORED)
        queries[f"age_{word}"] = scope.quantile(q, DOCUMENT_AGE, "task")
    return {name: query.text for name, query in queries.items()}


def _scope(window_s: float, job: str | None) -> Scope:
    """What is asked for over windows of so many seconds, of one scrape job or of all."""
    return Scope(Match("=~", ".*") if job is None else equals(job), f"{window_s:.0f}s")


def from_prometheus(
    prometheus: Prometheus, span: Span, events: Sequence[Event] | None, job: str | None = None
) -> Findings:
    """What a Prometheus says of a time.

    Args:
        events: the gateway's history; None: it could not be asked, and the metrics tell when aliases changed.
        job: the gateway's scrape job; None: there is one gateway, whatever its job is called.

    Raises:
        Failed: it does not answer, or refuses a query.
    """
    asked = _Asked(prometheus, span, job)
    lines = {
        name: tuple(prometheus.query_range(query, span.start, span.end, span.step_s))
        for name, query in over_time(span.window_s, job).items()
    }
    outcomes = asked.increase(REQUESTS, (*_VERSION, "outcome"))
    return Findings(
        span=span,
        source=f"the Prometheus at {prometheus.shown}",
        over_time=True,
        totals=_totals(
            outcomes,
            tokens=asked.increase(COMPLETION_TOKENS, _VERSION),
            quantiles={
                (spec.name, word): asked.quantile(spec, q, _VERSION)
                for spec in (TTFT, DURATION)
                for q, word in _QUANTILES
            },
            quality=asked.now(QUALITY_SCORE, _SCORED, how="min"),
        ),
        outcomes=_by_task(outcomes),
        lines=lines,
        drift=_drift(
            asked.now(DRIFT_EFFECT, _SIGNAL, how="max"),
            asked.now(DRIFT_P_VALUE, _SIGNAL, how="min"),
            asked.share_of_time(DRIFT_DETECTED, _SIGNAL),
        ),
        parts=asked.now(QUALITY_PART, (*_SCORED, "part"), how="min"),
        retrievals=_nested(asked.increase(RETRIEVALS, ("task", "outcome"))),
        ages_s=_pairs(*(asked.quantile(DOCUMENT_AGE, q, ("task",)) for q, _ in _QUANTILES)),
        events=tuple(events if events is not None else asked.swaps()),
    )


class _Asked:
    """Queries for single values over the whole span."""

    def __init__(self, prometheus: Prometheus, span: Span, job: str | None) -> None:
        self._prometheus = prometheus
        self._span = span
        self._whole = _scope(span.end - span.start, job)
        self._windows = _scope(span.window_s, job)

    def now(self, spec: MetricSpec, by: Sequence[str], *, how: Fold) -> dict[Key, float]:
        """The values of a gauge at the end, by labels."""
        return self._values(self._whole.now(spec, *by, how=how).text, by)

    def increase(self, spec: MetricSpec, by: Sequence[str]) -> dict[Key, float]:
        """What a counter grew by."""
        return self._values(self._whole.increase(spec, *by).text, by)

    def quantile(self, spec: MetricSpec, q: float, by: Sequence[str]) -> dict[Key, float]:
        """A quantile of a histogram."""
        return self._values(self._whole.quantile(q, spec, *by).text, by)

    def share_of_time(self, spec: MetricSpec, by: Sequence[str]) -> dict[Key, float]:
        """In which part of the time a gauge was 1 anywhere."""
        seconds = f"{self._whole.window}:{self._span.step_s:.0f}s"
        return self._values(f"avg_over_time(({self._whole.now(spec, *by, how='max').text})[{seconds}])", by)

    def swaps(self) -> list[Event]:
        """When replicas put changes of aliases into effect: to a window's length, by nobody that is known."""
        span = self._span
        query = self._windows.increase(ADAPTER_SWAPS, "alias", "action").text
        found: list[Event] = []
        for series in self._prometheus.query_range(query, span.start, span.end, span.step_s):
            before = 0.0
            for at, value in series.points:
                if value > 0 and before <= 0:
                    action, alias = series.labels.get("action", ""), series.labels.get("alias", "")
                    found.append(Event(at, "", action, alias, "", "as the metrics tell"))
                before = value
        return sorted(found, key=lambda event: event.at)

    def _values(self, query: str, by: Sequence[str]) -> dict[Key, float]:
        found = self._prometheus.query(query, self._span.end)
        return {tuple(series.labels.get(label, "") for label in by): series.last for series in found}


def from_gateway(scrape: Exposition, url: str, span: Span, events: Sequence[Event]) -> Findings:
    """What the gateway knows by itself: totals since its replicas started, and its history."""

    def quantiles(spec: MetricSpec, q: float, by: Sequence[str]) -> dict[Key, float]:
        every = histograms(scrape.values(f"{spec.name}_bucket"), by)
        return {key: found for key, buckets in every.items() if (found := quantile(q, buckets)) is not None}

    def lowest(name: str, by: Sequence[str]) -> dict[Key, float]:
        return {key: low for key, (low, _) in spread(scrape.values(name), by).items()}

    def highest(name: str) -> dict[Key, float]:
        return {key: high for key, (_, high) in spread(scrape.values(name), ("task", "signal")).items()}

    outcomes = grouped(scrape.values(REQUESTS.name), (*_VERSION, "outcome"))
    return Findings(
        span=span,
        source=f"the gateway at {url}",
        over_time=False,
        totals=_totals(
            outcomes,
            tokens=grouped(scrape.values(COMPLETION_TOKENS.name), _VERSION),
            quantiles={
                (spec.name, word): quantiles(spec, q, _VERSION) for spec in (TTFT, DURATION) for q, word in _QUANTILES
            },
            quality=lowest(QUALITY_SCORE.name, ("task", "adapter")),
        ),
        outcomes=_by_task(outcomes),
        drift=_drift(
            highest(DRIFT_EFFECT.name), lowest(DRIFT_P_VALUE.name, ("task", "signal")), highest(DRIFT_DETECTED.name)
        ),
        parts=lowest(QUALITY_PART.name, ("task", "adapter", "part")),
        retrievals=_nested(grouped(scrape.values(RETRIEVALS.name), ("task", "outcome"))),
        ages_s=_pairs(*(quantiles(DOCUMENT_AGE, q, ("task",)) for q, _ in _QUANTILES)),
        events=tuple(events),
    )


def events_of(history: Mapping[str, Any], span: Span) -> list[Event]:
    """The events of the admin API's answer that are in the span, the oldest first."""
    found = [
        Event(
            datetime.fromisoformat(event["at"]).timestamp(),
            event["actor"],
            event["action"],
            event["alias"],
            event["version"] or "",
            event["detail"] or "",
        )
        for event in history["data"]
    ]
    return sorted((event for event in found if event.at >= span.start), key=lambda event: event.at)


def _totals(
    outcomes: Mapping[Key, float],
    *,
    tokens: Mapping[Key, float],
    quantiles: Mapping[tuple[str, str], Mapping[Key, float]],
    quality: Mapping[Key, float],
) -> tuple[Totals, ...]:
    rows = []
    for key in sorted({key[:3] for key in outcomes}):
        counts = {found[3]: count for found, count in outcomes.items() if found[:3] == key}
        rows.append(
            Totals(
                task=key[0],
                adapter=key[1],
                role=key[2],
                requests=sum(counts.values()),
                failed=sum(counts.get(outcome, 0.0) for outcome in FAILED_OUTCOMES),
                tokens=tokens.get(key, 0.0),
                ttft_p50_s=quantiles[TTFT.name, "p50"].get(key),
                ttft_p95_s=quantiles[TTFT.name, "p95"].get(key),
                duration_p50_s=quantiles[DURATION.name, "p50"].get(key),
                duration_p95_s=quantiles[DURATION.name, "p95"].get(key),
                quality=quality.get(key[:2]),
            )
        )
    return tuple(rows)


def _by_task(outcomes: Mapping[Key, float]) -> dict[str, dict[str, float]]:
    """Requests of callers by task and outcome."""
    found: dict[str, dict[str, float]] = {}
    for (task, _, role, outcome), count in sorted(outcomes.items()):
        if role != "shadow":
            counts = found.setdefault(task, {})
            counts[outcome] = counts.get(outcome, 0.0) + count
    return found


def _drift(
    effects: Mapping[Key, float], p_values: Mapping[Key, float], detected: Mapping[Key, float]
) -> tuple[Drift, ...]:
    keys = sorted(effects.keys() | p_values.keys() | detected.keys())
    return tuple(Drift(key[0], key[1], effects.get(key), p_values.get(key), detected.get(key, 0.0)) for key in keys)


def _nested(values: Mapping[Key, float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for (outer, inner), value in sorted(values.items()):
        found.setdefault(outer, {})[inner] = value
    return found


def _pairs(lower: Mapping[Key, float], upper: Mapping[Key, float]) -> dict[str, tuple[float | None, float | None]]:
    return {key[0]: (lower.get(key), upper.get(key)) for key in sorted(lower.keys() | upper.keys())}
