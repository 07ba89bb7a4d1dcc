"""The recorder of the process that owns the indexes."""

import time

from prometheus_client import CollectorRegistry

from monitoring.catalogue_knowledge import (
    DOCUMENTS_WAITING,
    INGEST_FAILURES,
    INGEST_LAG,
    INGESTED,
    KNOWLEDGE,
    PASSAGES_WRITTEN,
)
from monitoring.recorder import Recorder

REPLICA = "knowledge"
"""Value of the label ``replica``."""


class KnowledgeMetrics(Recorder):
    """Methods are cheap and may be called from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, KNOWLEDGE, replica=REPLICA)
        self._ingested = self.counter(INGESTED)
        self._lag = self.histogram(INGEST_LAG)
        self._passages = self.counter(PASSAGES_WRITTEN)
        self._waiting = self.gauge(DOCUMENTS_WAITING)

    def ingested(self, accepted_at: float) -> None:
        """An edition that was accepted at this moment, Unix seconds, is searched from now on."""
        self._ingested.inc()
        self._lag.observe(max(time.time() - accepted_at, 0.0))

    def written(self, passages: int) -> None:
        """Passages were written to an index."""
        self._passages.inc(passages)

    def failed(self, code: str) -> None:
        """A document could not be ingested."""
        self.counter(INGEST_FAILURES, code).inc()

    def set_waiting(self, documents: int) -> None:
        """How many documents wait."""
        self._waiting.set(documents)
