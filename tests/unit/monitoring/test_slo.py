"""Which requests count for an objective, and which are good."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import GatewayMetrics, RequestRecord
from monitoring.slo import Objective, Slo, is_good

AVAILABILITY = Objective("support", "availability", 0.99)
TTFT = Objective("support", "ttft", 0.95, 0.5)
DURATION = Objective("support", "duration", 0.95, 3.0)


@pytest.mark.parametrize(
    ("outcome", "good"),
    [
        ("ok", True),
        ("contract_violated", True),
        ("server_error", False),
        ("timeout", False),
        ("unavailable", False),
        ("overloaded", False),
        ("client_error", None),
        ("cancelled", None),
    ],
)
def test_availability_counts_what_the_gateway_did_and_not_what_callers_did(outcome: str, *, good: bool | None) -> None:
    assert is_good(AVAILABILITY, RequestRecord("support", outcome=outcome)) is good


@pytest.mark.parametrize(("first_token_s", "good"), [(0.4, True), (0.5, True), (0.6, False), (None, None)])
def test_a_first_token_is_good_up_to_its_threshold(first_token_s: float | None, *, good: bool | None) -> None:
    assert is_good(TTFT, RequestRecord("support", first_token_s=first_token_s)) is good


def test_a_request_that_failed_counts_for_no_duration() -> None:
    assert is_good(DURATION, RequestRecord("support", duration_s=2.9)) is True
    assert is_good(DURATION, RequestRecord("support", duration_s=3.1)) is False
    assert is_good(DURATION, RequestRecord("support", outcome="timeout", duration_s=600.0)) is None


@pytest.mark.parametrize("target", [0.0, 1.0, -0.5, 1.5])
def test_a_target_leaves_a_budget(target: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Objective("support", "availability", target)


@pytest.mark.parametrize(("slo", "threshold_s"), [("availability", 1.0), ("ttft", None), ("duration", None)])
def test_a_latency_has_a_threshold_and_nothing_else_does(slo: Slo, threshold_s: float | None) -> None:
    with pytest.raises(ValueError, match="do not go together"):
        Objective("support", slo, 0.95, threshold_s)


def test_a_budget_is_what_a_person_would_write() -> None:
    assert Objective("support", "availability", 0.999).budget == 0.001


def _recorded(*records: RequestRecord) -> dict[tuple[str, str], float]:
    metrics = GatewayMetrics(CollectorRegistry(), replica="r0", objectives=(AVAILABILITY, TTFT))
    for record in records:
        metrics.request_started(record.task)
        metrics.request_finished(record)
    metrics.shadow_finished(RequestRecord("support", "triage@2", "shadow", outcome="server_error"))
    return {
        (sample.labels["slo"], sample.labels["result"]): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name == "loraplex_slo_requests_total"
    }


def test_good_and_bad_are_there_before_the_first_request() -> None:
    assert _recorded() == {
        ("availability", "good"): 0,
        ("availability", "bad"): 0,
        ("ttft", "good"): 0,
        ("ttft", "bad"): 0,
    }


def test_requests_are_counted_for_each_objective_of_their_task_and_copies_for_none() -> None:
    assert _recorded(
        RequestRecord("support", first_token_s=0.1),
        RequestRecord("support", first_token_s=0.9),
        RequestRecord("support", outcome="server_error"),
        RequestRecord("another", outcome="server_error"),
    ) == {
        ("availability", "good"): 2,
        ("availability", "bad"): 1,
        ("ttft", "good"): 1,
        ("ttft", "bad"): 1,
    }
