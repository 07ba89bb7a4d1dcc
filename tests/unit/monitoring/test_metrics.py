"""The metric catalogue and its recorder."""

from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from monitoring.catalogue import CATALOGUE, GATEWAY, MetricSpec
from monitoring.metrics import GatewayMetrics, RequestRecord, RetrievalRecord
from monitoring.observer_metrics import OBSERVED, ObserverMetrics, Signal, Standing
from monitoring.slo import Objective


@dataclass(frozen=True)
class Held:
    """One version's residency."""

    version: str
    tier: str = "slot"
    status: str = "ready"
    in_flight: int = 0


@dataclass(frozen=True)
class Rolled:
    """One automatic rollout."""

    alias: str
    candidate: str
    phase: str = "canary"
    share: float = 0.25


@pytest.fixture
def metrics() -> GatewayMetrics:
    objectives = [Objective("support", "availability", 0.999)]
    return GatewayMetrics(CollectorRegistry(), replica="r1", objectives=objectives)


def _families(metrics: GatewayMetrics) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def _value(metrics: GatewayMetrics, name: str, **labels: str) -> float | None:
    for family in _families(metrics).values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def _record_everything(metrics: GatewayMetrics) -> None:
    metrics.request_started("support")
    metrics.adapter_wait_started("support")
    metrics.adapter_wait_ended("support")
    metrics.request_finished(
        RequestRecord(
            "support",
            "triage@1",
            "stable",
            duration_s=1.0,
            engine_s=0.7,
            adapter_wait_s=0.05,
            retrieval_s=0.05,
            client_s=0.1,
            first_token_s=0.2,
            gaps_s=[0.01, 0.02],
            prompt_tokens=7,
            completion_tokens=3,
            contract_violation="mismatch",
            stream_error=True,
            admission_s=0.001,
            engine_queue_s=0.02,
        )
    )
    metrics.shadow_finished(RequestRecord("support", "triage@2", "shadow", duration_s=0.5, engine_s=0.5))
    metrics.request_refused("model_not_found")
    metrics.shadow_dropped("support", "triage@2", "capacity")
    metrics.adapter_loaded("triage@1", "disk", 0.02)
    metrics.adapter_load_failed("triage@3", "adapter_load_failed")
    metrics.adapter_unloaded("triage@3", "evicted")
    metrics.adapter_swapped("triage", "promote")
    metrics.set_residency([Held("triage@1", in_flight=2)])
    metrics.set_catalog_reachable(reachable=True)
    metrics.set_silent_replicas(1)
    metrics.retrieval_finished(RetrievalRecord("support", "found", {"dense": 0.01}, (60.0,), 2, 0.5))
    metrics.answer_grounded("support", 3, 2, 1)
    metrics.feedback_given("support", "triage@1", "stable", good=True)
    metrics.answer_forgotten()
    metrics.rollout_decided("triage", "canary")
    metrics.set_rollouts([Rolled("triage", "triage@2")])
    metrics.set_build("1.0", "0.29.0", "base")
    metrics.set_missing_engine_series(["vllm:gone"])
    metrics.spans_ended("exported", 3)
    metrics.log_lines_lost(1)
    metrics.request_refused("not\nprintable")
    _record_observations(ObserverMetrics(metrics))


def _record_observations(metrics: ObserverMetrics) -> None:
    metrics.counted(OBSERVED, 2)
    metrics.checked("support", "triage@1", "stable", "refusal", good=1, bad=1)
    metrics.confident("support", "triage@1", logprob=-0.5, entropy=0.7)
    metrics.took(0.2)
    metrics.set_up(up=True)
    metrics.show(
        Standing(
            (Signal("support", "topics", 0.01, 0.2, detected=True),),
            {("support", "live"): 200},
            {("support", "triage@1"): 0.9},
            {("support", "triage@1", "refusal"): 0.5},
        )
    )


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_a_name_follows_the_conventions(spec: MetricSpec) -> None:
    assert spec.name.startswith("loraplex_")
    assert spec.help.endswith(".")
    assert (spec.kind == "counter") == spec.name.endswith("_total")
    assert (spec.kind == "histogram") == bool(spec.buckets)
    assert list(spec.buckets) == sorted(set(spec.buckets))
    if spec.unit == "seconds":
        assert spec.name.endswith("_seconds")
    assert "replica" not in spec.labels
    assert spec.samples == (len(spec.buckets) + 3 if spec.buckets else 1)


def test_names_are_unique() -> None:
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)


def test_every_metric_of_a_replica_can_be_scraped_with_its_labels(metrics: GatewayMetrics) -> None:
    _record_everything(metrics)
    families = _families(metrics)
    for spec in GATEWAY:
        family = families[spec.name.removesuffix("_total")]
        assert family.type == spec.kind
        assert family.samples, spec.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == {"replica", *spec.labels}
            assert sample.labels["replica"] == "r1"


def test_there_are_no_created_series(metrics: GatewayMetrics) -> None:
    _record_everything(metrics)
    assert b"_created" not in metrics.render()


def test_a_retrieval_without_passages_says_nothing_of_the_budget_or_of_ages(metrics: GatewayMetrics) -> None:
    metrics.retrieval_finished(RetrievalRecord("support", "empty", {"total": 0.02}, expired=4))
    assert _value(metrics, "loraplex_retrievals_total", task="support", outcome="empty") == 1
    assert _value(metrics, "loraplex_expired_documents_total", task="support") == 4
    assert _value(metrics, "loraplex_passage_budget_used_ratio_count", task="support") is None
    assert _value(metrics, "loraplex_document_age_seconds_count", task="support") is None


def test_overhead_is_what_neither_engine_nor_retrieval_nor_adapter_nor_client_took(metrics: GatewayMetrics) -> None:
    _record_everything(metrics)
    total = _value(metrics, "loraplex_gateway_overhead_seconds_sum", task="support")
    assert total == pytest.approx(0.1)


def test_a_finished_request_is_no_longer_in_flight(metrics: GatewayMetrics) -> None:
    metrics.request_started("support")
    metrics.request_started("support")
    metrics.request_finished(RequestRecord("support"))
    assert _value(metrics, "loraplex_requests_in_flight", task="support") == 1


def test_a_shadow_copy_was_never_in_flight(metrics: GatewayMetrics) -> None:
    metrics.shadow_finished(RequestRecord("support", "triage@2", "shadow"))
    assert _value(metrics, "loraplex_requests_in_flight", task="support") is None
    assert _value(metrics, "loraplex_requests_total", role="shadow", outcome="ok") == 1


def test_residency_is_replaced_as_a_whole(metrics: GatewayMetrics) -> None:
    metrics.set_residency([Held("a@1", in_flight=3), Held("b@1", tier="cpu")])
    metrics.set_residency([Held("a@1", tier="cpu")])
    text = metrics.render().decode()
    assert 'adapter="b@1"' not in text
    assert _value(metrics, "loraplex_adapter_resident", adapter="a@1", tier="cpu") == 1
    assert _value(metrics, "loraplex_adapter_resident", adapter="a@1", tier="slot") is None
    assert _value(metrics, "loraplex_adapter_requests_in_flight", adapter="a@1") == 0


def test_a_forgotten_version_leaves_no_count_and_may_come_back(metrics: GatewayMetrics) -> None:
    _record_everything(metrics)
    metrics.set_residency([])
    metrics.forget({"triage@1"})
    left = {
        family.name
        for family in _families(metrics).values()
        if any(sample.labels.get("adapter") == "triage@1" for sample in family.samples)
    }
    assert left == {"loraplex_quality_score_ratio", "loraplex_quality_part_ratio"}
    metrics.request_started("support")
    metrics.request_finished(RequestRecord("support", "triage@1", "stable"))
    metrics.set_residency([Held("triage@1")])
    assert _value(metrics, "loraplex_requests_total", adapter="triage@1") == 1
    assert _value(metrics, "loraplex_adapter_resident", adapter="triage@1") == 1


def test_two_replicas_in_one_process_do_not_share_anything(metrics: GatewayMetrics) -> None:
    other = GatewayMetrics(CollectorRegistry(), replica="r2")
    other.request_refused("invalid_json")
    assert b"invalid_json" not in metrics.render()


def test_a_rollout_has_one_phase_and_one_share(metrics: GatewayMetrics) -> None:
    metrics.set_rollouts([Rolled("triage", "triage@2")])
    metrics.set_rollouts([Rolled("triage", "triage@2", share=0.5)])
    assert _value(metrics, "loraplex_rollout_share_ratio", alias="triage", adapter="triage@2") == 0.5
    metrics.set_rollouts([Rolled("triage", "triage@2", "promoted", 0.0)])
    assert _value(metrics, "loraplex_rollout_phase", phase="canary") is None
    assert _value(metrics, "loraplex_rollout_phase", phase="promoted") == 1
    assert _value(metrics, "loraplex_rollout_share_ratio", adapter="triage@2") == 0
