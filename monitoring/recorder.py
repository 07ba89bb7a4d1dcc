"""What every recorder has: the families of some specs in one registry, each with a limit."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry

from monitoring.catalogue import SERIES_DROPPED
from monitoring.exposition import Format, render
from monitoring.families import (
    SERIES_PER_FAMILY,
    CounterChild,
    CounterFamily,
    Family,
    GaugeChild,
    GaugeFamily,
    HistogramChild,
    HistogramFamily,
    build_family,
)
from monitoring.spec import MetricSpec


class Recorder:
    """Counts into the families that ``specs`` describe, and counts what their limits kept out."""

    def __init__(
        self,
        registry: CollectorRegistry,
        specs: Iterable[MetricSpec],
        *,
        replica: str,
        series_per_family: int = SERIES_PER_FAMILY,
    ) -> None:
        self._registry = registry
        # Without a limit of its own: it has two series, and would have to tell itself of a third.
        self._families: dict[str, Family] = {SERIES_DROPPED.name: build_family(SERIES_DROPPED, registry, replica)}
        for spec in specs:
            if spec is not SERIES_DROPPED:
                self._families[spec.name] = build_family(
                    spec, registry, replica, most_series=series_per_family, refused=self._series_dropped
                )

    @property
    def label_sets(self) -> int:
        """How many sets of label values are kept, over all families."""
        return sum(family.label_sets for family in self._families.values())

    def render(self, form: Format = Format.TEXT) -> bytes:
        """Everything, as a scrape has it. Exemplars are in OpenMetrics alone."""
        return render(self._registry, form)

    def counter(self, spec: MetricSpec, *labels: str) -> CounterChild:
        """What counts for these label values, in the order of ``spec.labels``. A version that is forgotten loses it."""
        family = self._families[spec.name]
        assert isinstance(family, CounterFamily)  # noqa: S101  (narrows a type that the catalogue decides)
        return family.labels(*labels)

    def gauge(self, spec: MetricSpec, *labels: str) -> GaugeChild:
        """As :meth:`counter`."""
        family = self._families[spec.name]
        assert isinstance(family, GaugeFamily)  # noqa: S101
        return family.labels(*labels)

    def histogram(self, spec: MetricSpec, *labels: str) -> HistogramChild:
        """As :meth:`counter`."""
        family = self._families[spec.name]
        assert isinstance(family, HistogramFamily)  # noqa: S101
        return family.labels(*labels)

    def remove(self, spec: MetricSpec, labels: Mapping[str, str]) -> None:
        """Drop every series that has all of these label values."""
        self._families[spec.name].remove_by_labels(labels)

    def _series_dropped(self, reason: str) -> None:
        self.counter(SERIES_DROPPED, reason).inc()
