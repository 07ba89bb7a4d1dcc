"""What the process that owns the indexes measures."""

import time

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.catalogue import KNOWLEDGE
from monitoring.knowledge import REPLICA, KnowledgeMetrics


def test_every_metric_can_be_scraped_with_its_labels() -> None:
    metrics = KnowledgeMetrics(CollectorRegistry())
    metrics.ingested(time.time() - 2)
    metrics.written(7)
    metrics.failed("invalid_file")
    metrics.set_waiting(3)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    for spec in KNOWLEDGE:
        family = families[spec.name.removesuffix("_total")]
        assert family.type == spec.kind
        assert {sample.labels["replica"] for sample in family.samples} == {REPLICA}
        assert {frozenset(sample.labels) - {"le"} for sample in family.samples} == {
            frozenset(("replica", *spec.labels))
        }


def test_the_lag_is_counted_from_the_acceptance_and_never_negative() -> None:
    registry = CollectorRegistry()
    metrics = KnowledgeMetrics(registry)
    metrics.ingested(time.time() - 2)
    metrics.ingested(time.time() + 60)
    total = registry.get_sample_value("loraplex_ingest_lag_seconds_sum", {"replica": REPLICA})
    assert total is not None
    assert 2 <= total < 3
