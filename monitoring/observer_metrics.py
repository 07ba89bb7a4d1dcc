"""The recorder of what is observed of answers, in one replica's registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.catalogue_observing import (
    ANSWER_ENTROPY,
    ANSWER_LOGPROB,
    DRIFT_DETECTED,
    DRIFT_EFFECT,
    DRIFT_P_VALUE,
    DRIFT_WINDOW,
    OBSERVATION_TIME,
    OBSERVATIONS,
    OBSERVER_UP,
    QUALITY_CHECKS,
    QUALITY_PART,
    QUALITY_SCORE,
)
from monitoring.metrics import GatewayMetrics
from monitoring.spec import MetricSpec

OBSERVED = "observed"
SAMPLED_OUT = "sampled_out"
DROPPED = "dropped"
"""Values of the label ``result`` of ``loraplex_observations_total``."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one signal of one task's drift says."""

    task: str
    signal: str
    p_value: float
    effect: float
    detected: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand over all replicas."""

    signals: tuple[Signal, ...] = ()
    windows: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    """Requests by task and window."""
    scores: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    """Quality by task and version."""
    parts: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    """Its parts by task, version and check."""


class ObserverMetrics:
    """One replica's. Methods are cheap and may be called from any thread but for :meth:`show`, which has one caller.

    Series are looked up each time: those of a version that the catalog forgets are dropped behind our back.
    """

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._shown: dict[str, set[tuple[str, ...]]] = {}
        """By metric: the labels of the gauges that stand now."""

    def counted(self, result: str, requests: int) -> None:
        """So many finished requests came to ``result``: OBSERVED, SAMPLED_OUT or DROPPED."""
        if requests:
            self._metrics.counter(OBSERVATIONS, result).inc(requests)

    def checked(self, task: str, adapter: str, role: str, check: str, *, good: int, bad: int) -> None:
        """A check looked at so many answers. Both series begin: of a counter's first value a rate sees nothing."""
        self._metrics.version_used(adapter)
        for result, answers in (("ok", good), ("bad", bad)):
            self._metrics.counter(QUALITY_CHECKS, task, adapter, role, check, result).inc(answers)

    def confident(self, task: str, adapter: str, *, logprob: float | None, entropy: float | None) -> None:
        """One answer's mean log-probability, at most 0, and mean entropy, both in nats."""
        self._metrics.version_used(adapter)
        if logprob is not None:
            self._metrics.histogram(ANSWER_LOGPROB, task, adapter).observe(max(-logprob, 0.0))
        if entropy is not None:
            self._metrics.histogram(ANSWER_ENTROPY, task, adapter).observe(max(entropy, 0.0))

    def took(self, seconds: float) -> None:
        """From the end of a request until its answer had been checked."""
        self._metrics.histogram(OBSERVATION_TIME).observe(max(seconds, 0.0))

    def set_up(self, *, up: bool) -> None:
        """Whether answers are observed in full now."""
        self._metrics.gauge(OBSERVER_UP).set(1 if up else 0)

    def show(self, standing: Standing) -> None:
        """Replace what is shown of drift and quality."""
        signals = standing.signals
        self._replace(DRIFT_P_VALUE, {(one.task, one.signal): one.p_value for one in signals})
        self._replace(DRIFT_EFFECT, {(one.task, one.signal): one.effect for one in signals})
        self._replace(DRIFT_DETECTED, {(one.task, one.signal): float(one.detected) for one in signals})
        self._replace(DRIFT_WINDOW, standing.windows)
        self._replace(QUALITY_SCORE, standing.scores)
        self._replace(QUALITY_PART, standing.parts)

    def _replace(self, spec: MetricSpec, values: Mapping[tuple[str, ...], float]) -> None:
        for gone in self._shown.get(spec.name, set()) - values.keys():
            self._metrics.remove(spec, dict(zip(spec.labels, gone, strict=True)))
        for labels, value in values.items():
            self._metrics.gauge(spec, *labels).set(value)
        self._shown[spec.name] = set(values)
