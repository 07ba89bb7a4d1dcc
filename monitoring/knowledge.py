"""The recorder of the process that owns the indexes."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from monitoring.catalogue import (
    DOCUMENTS_WAITING,
    INGEST_FAILURES,
    INGEST_LAG,
    INGESTED,
    KNOWLEDGE,
    PASSAGES_WRITTEN,
)
from monitoring.metrics import build_family, render

REPLICA = "knowledge"
"""Value of the label ``replica``."""


class KnowledgeMetrics:
    """Methods are cheap and may be called from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        families = {spec.name: build_family(spec, registry) for spec in KNOWLEDGE}
        self._ingested = _counter(families[INGESTED.name]).labels(REPLICA)
        self._failures = _counter(families[INGEST_FAILURES.name])
        self._passages = _counter(families[PASSAGES_WRITTEN.name]).labels(REPLICA)
        lag, waiting = families[INGEST_LAG.name], families[DOCUMENTS_WAITING.name]
        assert isinstance(lag, Histogram)  # noqa: S101  (narrows a type that KNOWLEDGE decides)
        assert isinstance(waiting, Gauge)  # noqa: S101
        self._lag = lag.labels(REPLICA)
        self._waiting = waiting.labels(REPLICA)

    def ingested(self, accepted_at: float) -> None:
        """An edition that was accepted at this moment, Unix seconds, is searched from now on."""
        self._ingested.inc()
        self._lag.observe(max(time.time() - accepted_at, 0.0))

    def written(self, passages: int) -> None:
        """Passages were written to an index."""
        self._passages.inc(passages)

    def failed(self, code: str) -> None:
        """A document could not be ingested."""
        self._failures.labels(REPLICA, code).inc()

    def set_waiting(self, documents: int) -> None:
        """How many documents wait."""
        self._waiting.set(documents)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return render(self._registry)


def _counter(family: Counter | Gauge | Histogram) -> Counter:
    assert isinstance(family, Counter)  # noqa: S101  (narrows a type that KNOWLEDGE decides)
    return family
