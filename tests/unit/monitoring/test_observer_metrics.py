"""What is recorded of observed answers."""

from prometheus_client import CollectorRegistry

from monitoring.catalogue_observing import QUALITY_CHECKS
from monitoring.metrics import GatewayMetrics
from monitoring.observer_metrics import ObserverMetrics


def test_a_check_that_never_failed_has_a_zero_from_which_its_first_failure_is_growth() -> None:
    registry = CollectorRegistry()
    recorder = ObserverMetrics(GatewayMetrics(registry, replica="r0"))
    recorder.checked("labels", "triage@1", "stable", "parse", good=3, bad=0)
    labels = {"replica": "r0", "task": "labels", "adapter": "triage@1", "role": "stable", "check": "parse"}

    assert registry.get_sample_value(QUALITY_CHECKS.name, {**labels, "result": "ok"}) == 3
    assert registry.get_sample_value(QUALITY_CHECKS.name, {**labels, "result": "bad"}) == 0
