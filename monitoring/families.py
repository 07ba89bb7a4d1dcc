"""Counters, gauges and histograms whose label sets are bounded.

``prometheus_client`` keeps every set of label values that it is given, for ever. Here a family keeps as many as a limit
allows; what comes after is counted under the value ``other`` (counters, histograms) or left out (gauges, where a sum
would mean nothing), so that totals stay right and memory stays flat. OpenTelemetry's metrics SDK does the same
(specification, "Cardinality limits"). Methods may be called from any thread.
"""

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from monitoring.spec import OPEN_LABELS, OTHER, MetricSpec

SERIES_PER_FAMILY = 10_000
"""Most series of one family, buckets counted, where nothing else is said."""

LONGEST_VALUE = 200
"""Characters of a label value that is shown as it is."""

_FOLDED = 100
"""Label sets beyond the limit that keep the labels whose values come from the program itself, such as an outcome."""

Refused = Callable[[str], None]
"""Told why a label set was not kept as it was: ``limit`` or ``value``."""


def _ignore(_: str) -> None:
    """Nobody counts."""


class CounterChild:
    """One label set of a counter."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self._lock = Lock()
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count. Raises ValueError for a negative amount."""
        if amount < 0:
            raise ValueError("a counter never goes down")
        with self._lock:
            self.value += amount


class GaugeChild:
    """One label set of a gauge."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self._lock = Lock()
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace the value."""
        with self._lock:
            self.value = float(value)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the value."""
        with self._lock:
            self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take from the value."""
        with self._lock:
            self.value -= amount


class HistogramChild:
    """One label set of a histogram: a count for each bucket, and the last exemplar in it."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_lock", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._lock = Lock()
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: dict[int, Exemplar] = {}
        self._sum = 0.0

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Count one value; ``trace_id`` becomes the exemplar of its bucket."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value
            if trace_id is not None:
                self._exemplars[place] = Exemplar({"trace_id": trace_id}, value, time.time())

    def observe_all(self, values: Sequence[float], trace_id: str | None = None) -> None:
        """Count many values at once; ``trace_id`` becomes the exemplar of the largest one's bucket."""
        if not values:
            return
        bounds, counts = self._bounds, self._counts
        with self._lock:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
            self._sum += sum(values)
            if trace_id is not None:
                largest = max(values)
                exemplar = Exemplar({"trace_id": trace_id}, largest, time.time())
                self._exemplars[bisect_left(bounds, largest)] = exemplar

    def state(self) -> tuple[list[int], float, dict[int, Exemplar]]:
        """Counts by bucket, sum, and exemplars by bucket, all of one moment."""
        with self._lock:
            return list(self._counts), self._sum, dict(self._exemplars)


_Child = TypeVar("_Child")


class _Family(ABC, Generic[_Child]):
    """One metric family of one replica."""

    def __init__(self, spec: MetricSpec, replica: str, most_series: int, refused: Refused) -> None:
        self.spec = spec
        self._replica = replica
        self._most = max(most_series // spec.samples, 1)
        self._refused = refused
        self._lock = Lock()
        self._children: dict[tuple[str, ...], _Child] = {}

    @property
    def label_sets(self) -> int:
        """How many are kept."""
        return len(self._children)

    def labels(self, *values: str) -> _Child:
        """What counts for these label values, in the order of ``spec.labels``. Raises ValueError for another number."""
        child = self._children.get(values)
        return self._admit(values) if child is None else child

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Drop every series that has all of these label values. Raises ValueError for a label that there is not."""
        wanted = [(self.spec.labels.index(name), value) for name, value in labels.items()]
        with self._lock:
            for key in [key for key in self._children if all(key[place] == value for place, value in wanted)]:
                del self._children[key]

    def remove_values(self, label: str, values: Collection[str]) -> None:
        """Drop every series with one of ``values`` as ``label``. Raises ValueError for a label that there is not."""
        place = self.spec.labels.index(label)
        with self._lock:
            for key in [key for key in self._children if key[place] in values]:
                del self._children[key]

    def collect(self) -> Iterable[Metric]:
        """The family as it is now, for ``prometheus_client``'s encoders."""
        with self._lock:
            children = list(self._children.items())
        metric = Metric(self.spec.name.removesuffix("_total"), self.spec.help, self.spec.kind)
        for key, child in children:
            labels = dict(zip(self.spec.labels, key, strict=True))
            self._add(metric, {"replica": self._replica, **labels}, child)
        return [metric]

    def _admit(self, values: tuple[str, ...]) -> _Child:
        if len(values) != len(self.spec.labels):
            raise ValueError(f"{self.spec.name} has the labels {self.spec.labels}, not {len(values)} of them")
        key = tuple(str(value) if _fit(value) else OTHER for value in values)
        if key != values:
            self._refused("value")
        with self._lock:
            child = self._children.get(key)
            if child is None and len(self._children) < self._most:
                child = self._children[key] = self._new()
        if child is None:
            self._refused("limit")
            child = self._beyond(key)
        return child

    def _beyond(self, key: tuple[str, ...]) -> _Child:
        """What counts for a label set that there is no room for."""
        folded = tuple(
            OTHER if name in OPEN_LABELS else value for name, value in zip(self.spec.labels, key, strict=True)
        )
        with self._lock:
            if folded not in self._children and len(self._children) >= self._most + _FOLDED:
                folded = (OTHER,) * len(key)
            child = self._children.get(folded)
            if child is None:
                child = self._children[folded] = self._new()
            return child

    @abstractmethod
    def _new(self) -> _Child:
        """A child that has counted nothing."""

    @abstractmethod
    def _add(self, metric: Metric, labels: dict[str, str], child: _Child) -> None:
        """Write the samples of ``child``."""


class CounterFamily(_Family[CounterChild]):
    """A counter by labels."""

    def _new(self) -> CounterChild:
        return CounterChild()

    def _add(self, metric: Metric, labels: dict[str, str], child: CounterChild) -> None:
        metric.add_sample(self.spec.name, labels, child.value)


class GaugeFamily(_Family[GaugeChild]):
    """A gauge by labels."""

    def _new(self) -> GaugeChild:
        return GaugeChild()

    def _beyond(self, key: tuple[str, ...]) -> GaugeChild:
        """A child that nobody sees: the last of many values under one name would say nothing."""
        return GaugeChild()

    def _add(self, metric: Metric, labels: dict[str, str], child: GaugeChild) -> None:
        metric.add_sample(self.spec.name, labels, child.value)


class HistogramFamily(_Family[HistogramChild]):
    """A histogram by labels."""

    def __init__(self, spec: MetricSpec, replica: str, most_series: int, refused: Refused) -> None:
        super().__init__(spec, replica, most_series, refused)
        self._names = [_bound(bound) for bound in (*spec.buckets, float("inf"))]

    def _new(self) -> HistogramChild:
        return HistogramChild(self.spec.buckets)

    def _add(self, metric: Metric, labels: dict[str, str], child: HistogramChild) -> None:
        counts, total, exemplars = child.state()
        below = 0
        for place, name in enumerate(self._names):
            below += counts[place]
            bucket = {**labels, "le": name}
            metric.add_sample(f"{self.spec.name}_bucket", bucket, below, exemplar=exemplars.get(place))
        metric.add_sample(f"{self.spec.name}_count", labels, below)
        metric.add_sample(f"{self.spec.name}_sum", labels, total)


Family = CounterFamily | GaugeFamily | HistogramFamily


def build_family(
    spec: MetricSpec,
    registry: CollectorRegistry,
    replica: str,
    *,
    most_series: int = SERIES_PER_FAMILY,
    refused: Refused = _ignore,
) -> Family:
    """The metric that ``spec`` describes, registered.

    Args:
        most_series: the family's limit, in series.
        refused: told of every label set that was not kept as it was.
    """
    classes: dict[str, type[Family]] = {"counter": CounterFamily, "gauge": GaugeFamily, "histogram": HistogramFamily}
    family = classes[spec.kind](spec, replica, most_series, refused)
    registry.register(family)
    return family


def _fit(value: str) -> bool:
    """Whether ``value`` can be shown: what is not printable could break a line, or the encoding of the whole."""
    return len(value) <= LONGEST_VALUE and value.isprintable()


def _bound(bound: float) -> str:
    """``bound`` as the label ``le`` has it: OpenMetrics wants one spelling of a number."""
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
