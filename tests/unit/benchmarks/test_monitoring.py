"""The measurements of monitoring, in small."""

import argparse
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks import monitoring_memory, monitoring_recorder
from benchmarks.monitoring_overhead import observations
from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics
from monitoring.observer_metrics import DROPPED, OBSERVED, ObserverMetrics
from serving.observing.notes import Record
from tests.expositions import families


class Looking:
    """Looks at every record, and finds nothing."""

    async def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        found: dict[str, Any] = {"observed": len(records), "failed": 0, "standing": None, "problem": ""}
        return found | {"checks": [], "confidence": [], "lags": []}

    async def stop(self) -> None:
        """Nothing to end."""


async def test_memory_is_measured_over_requests_of_every_kind() -> None:
    options = argparse.Namespace(requests=400)
    results, (target,), problems = await monitoring_memory.measure(options, worker=Looking())
    assert problems == []
    assert results["observations"] == {OBSERVED: 200}
    assert len(results["observing_process_mib"]) == 20
    assert (results["answered"], results["refused"], results["recorded_under_made_up_names"]) == (200, 40, 160)
    assert [look["requests"] for look in results["resident_mib"]] == list(range(20, 401, 20))
    assert target.value >= 0


def test_what_became_of_finished_requests_is_read_from_an_exposition() -> None:
    metrics = GatewayMetrics(CollectorRegistry(), replica="r")
    assert observations(metrics.render(Format.TEXT)) == {}
    observer = ObserverMetrics(metrics)
    observer.counted(OBSERVED, 1_234_567)
    observer.counted(DROPPED, 3)
    for form in Format:
        assert observations(metrics.render(form)) == {OBSERVED: 1_234_567, DROPPED: 3}


def test_a_full_request_leaves_behind_what_a_request_can() -> None:
    metrics = GatewayMetrics(CollectorRegistry(), replica="r")
    monitoring_recorder.full(metrics, 0)
    monitoring_recorder.plain(metrics, 1)
    counts = {
        family.name: sum(sample.value for sample in family.samples if sample.name.endswith("_count"))
        for family in families(metrics.render(Format.OPENMETRICS), Format.OPENMETRICS)
    }
    assert counts["loraplex_request_duration_seconds"] == 2
    assert counts["loraplex_inter_token_latency_seconds"] == 31
    assert counts["loraplex_retrieval_seconds"] == 6
    assert counts["loraplex_adapter_wait_seconds"] == 1
    assert counts["loraplex_queue_seconds"] == 2
