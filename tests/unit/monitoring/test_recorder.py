"""What the recorder keeps, for how long, and where its exemplars lead."""

from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from monitoring.exposition import Format
from monitoring.metrics import GatewayMetrics, RequestRecord, RetrievalRecord
from monitoring.observer_metrics import ObserverMetrics
from monitoring.silent import SilentMetrics
from tests.expositions import families

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER_TRACE = "b7ad6b7169203331b7ad6b7169203331"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Rolled:
    """One automatic rollout."""

    alias: str
    candidate: str
    phase: str
    share: float


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry(), replica="r1", series_per_family=200, forget_after_s=60.0, clock=clock)


def _served(metrics: GatewayMetrics, task: str = "support", adapter: str = "triage@1", **record: object) -> None:
    metrics.request_started(task)
    finished = RequestRecord(task, adapter, "stable", duration_s=0.3, admission_s=0.001)
    for name, value in record.items():
        setattr(finished, name, value)
    metrics.request_finished(finished)


def _family(metrics: GatewayMetrics, name: str, form: Format = Format.TEXT) -> Metric:
    return next(family for family in families(metrics.render(form), form) if family.name == name)


def _exemplars(metrics: GatewayMetrics, name: str) -> set[str]:
    samples = _family(metrics, name, Format.OPENMETRICS).samples
    return {sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar is not None}


def _sum(metrics: GatewayMetrics, name: str, suffix: str, **labels: str) -> float:
    return sum(
        sample.value
        for sample in _family(metrics, name).samples
        if sample.name == name + suffix and labels.items() <= sample.labels.items()
    )


def test_the_queue_is_the_gateways_and_the_engines(metrics: GatewayMetrics) -> None:
    _served(metrics, admission_s=0.001, engine_queue_s=0.2)
    _served(metrics, admission_s=0.003)
    assert _sum(metrics, "loraplex_queue_seconds", "_count", task="support", adapter="triage@1") == 2
    assert _sum(metrics, "loraplex_queue_seconds", "_sum") == pytest.approx(0.204)


def test_a_request_that_was_not_admitted_did_not_queue(metrics: GatewayMetrics) -> None:
    _served(metrics, admission_s=None, outcome="overloaded")
    assert _sum(metrics, "loraplex_queue_seconds", "_count") == 0


def test_retrieval_is_measured_by_task_and_stage(metrics: GatewayMetrics) -> None:
    metrics.retrieval_finished(RetrievalRecord("support", "found", {"dense": 0.01, "total": 0.02}))
    metrics.retrieval_finished(RetrievalRecord("billing", "found", {"dense": 0.04}))
    assert _sum(metrics, "loraplex_retrieval_seconds", "_sum", task="support", stage="dense") == pytest.approx(0.01)
    assert _sum(metrics, "loraplex_retrieval_seconds", "_sum", task="billing", stage="dense") == pytest.approx(0.04)


def test_latencies_lead_to_the_trace_of_their_request(metrics: GatewayMetrics) -> None:
    _served(metrics, trace_id=TRACE, first_token_s=0.1, gaps_s=[0.01, 0.5, 0.02])
    for name in ("request_duration", "time_to_first_token", "inter_token_latency", "queue", "gateway_overhead"):
        assert _exemplars(metrics, f"loraplex_{name}_seconds") == {TRACE}
    (slowest,) = (
        sample.exemplar
        for sample in _family(metrics, "loraplex_inter_token_latency_seconds", Format.OPENMETRICS).samples
        if sample.exemplar is not None
    )
    assert slowest.value == 0.5


def test_the_current_trace_stands_in_where_the_record_names_none(metrics: GatewayMetrics) -> None:
    metrics.trace = lambda: OTHER_TRACE
    _served(metrics)
    metrics.retrieval_finished(RetrievalRecord("support", "found", {"total": 0.02}))
    assert _exemplars(metrics, "loraplex_request_duration_seconds") == {OTHER_TRACE}
    assert _exemplars(metrics, "loraplex_retrieval_seconds") == {OTHER_TRACE}


@pytest.mark.parametrize("trace_id", [None, "", "x" * 500, TRACE.upper(), f'{TRACE}"}} 1'])
def test_what_is_no_trace_id_is_no_exemplar(metrics: GatewayMetrics, trace_id: str | None) -> None:
    _served(metrics, trace_id=trace_id)
    assert _exemplars(metrics, "loraplex_request_duration_seconds") == set()


def test_names_that_somebody_makes_up_leave_memory_and_totals_as_they_are(metrics: GatewayMetrics) -> None:
    for number in range(3000):
        _served(metrics, f"task-{number}", f"adapter-{number}@{number}")
    for family in families(metrics.render()):
        assert len(family.samples) <= 200 + 100 * 20
    requests = _family(metrics, "loraplex_requests")
    assert sum(sample.value for sample in requests.samples) == 3000
    assert _sum(metrics, "loraplex_request_duration_seconds", "_count") == 3000
    assert _sum(metrics, "loraplex_requests_in_flight", "") == 0
    dropped = {s.labels["reason"]: s.value for s in _family(metrics, "loraplex_series_dropped").samples}
    assert dropped.keys() == {"limit"}
    assert dropped["limit"] > 2000


def test_a_limit_of_one_series_still_counts_everything() -> None:
    metrics = GatewayMetrics(CollectorRegistry(), replica="r1", series_per_family=1)
    for number in range(10):
        _served(metrics, f"task\n{number}", f"v@{number}")
    assert sum(sample.value for sample in _family(metrics, "loraplex_requests").samples) == 10


def test_a_version_that_left_stays_until_it_has_been_scraped(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics)
    clock.now += 59
    metrics.forget_idle(())
    assert b'adapter="triage@1"' in metrics.render()
    clock.now += 1
    metrics.forget_idle(())
    assert b'adapter="triage@1"' not in metrics.render()


def test_a_version_in_a_role_is_never_forgotten(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics)
    for _ in range(5):
        clock.now += 50
        metrics.forget_idle({"triage@1"})
    clock.now += 59
    metrics.forget_idle(())
    assert b'adapter="triage@1"' in metrics.render()


def test_a_version_in_use_is_not_forgotten(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics)
    clock.now += 50
    _served(metrics)
    clock.now += 50
    metrics.forget_idle(())
    assert _sum(metrics, "loraplex_requests", "_total", adapter="triage@1") == 2


def test_a_version_that_comes_back_counts_from_zero(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics)
    clock.now += 60
    metrics.forget_idle(())
    _served(metrics)
    assert _sum(metrics, "loraplex_requests", "_total", adapter="triage@1") == 1
    assert _sum(metrics, "loraplex_request_duration_seconds", "_count", adapter="triage@1") == 1


def test_what_is_in_flight_survives_being_forgotten(metrics: GatewayMetrics) -> None:
    metrics.request_started("support")
    metrics.forget({"triage@1"})
    assert _sum(metrics, "loraplex_requests_in_flight", "", task="support") == 1
    metrics.request_finished(RequestRecord("support", "triage@1", "exact"))
    assert _sum(metrics, "loraplex_requests_in_flight", "", task="support") == 0


def test_what_is_found_out_of_an_answer_later_is_forgotten_too(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics)
    clock.now += 60
    metrics.forget_idle(())
    observed = ObserverMetrics(metrics)
    observed.checked("support", "triage@1", "stable", "judge", good=1, bad=0)
    observed.confident("support", "triage@1", logprob=-0.5, entropy=None)
    observed.checked("support", "base", "base", "judge", good=1, bad=0)
    clock.now += 60
    metrics.forget_idle(())
    assert b"triage@1" not in metrics.render()
    assert _sum(metrics, "loraplex_quality_checks", "_total", adapter="base") == 1


def test_a_version_that_is_forgotten_stays_where_it_is_told_as_a_whole(metrics: GatewayMetrics, clock: Clock) -> None:
    rollout = Rolled("triage", "triage@1", "aborted", 0.0)
    metrics.set_rollouts([rollout])
    _served(metrics)
    clock.now += 60
    metrics.forget_idle(())
    assert _sum(metrics, "loraplex_rollout_phase", "", adapter="triage@1", phase="aborted") == 1
    metrics.set_rollouts([])
    assert b"triage@1" not in metrics.render()


def test_a_forgotten_version_leaves_the_base_model_alone(metrics: GatewayMetrics, clock: Clock) -> None:
    _served(metrics, "support", "base")
    _served(metrics)
    clock.now += 3600
    metrics.forget_idle(())
    assert _sum(metrics, "loraplex_requests", "_total") == 1
    assert _sum(metrics, "loraplex_requests", "_total", adapter="base") == 1


def test_a_silent_recorder_shows_nothing() -> None:
    metrics = SilentMetrics(CollectorRegistry(), replica="r1")
    _served(metrics)
    metrics.adapter_wait_started("support")
    metrics.adapter_wait_ended("support")
    metrics.shadow_finished(RequestRecord("support"))
    metrics.request_refused("invalid_json")
    metrics.retrieval_finished(RetrievalRecord("support", "found", {"total": 0.1}))
    metrics.answer_grounded("support", 1, 0, 0)
    metrics.adapter_loaded("triage@1", "disk", 0.1)
    assert metrics.render() == b""
