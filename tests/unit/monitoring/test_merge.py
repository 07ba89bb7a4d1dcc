"""Merging the expositions of several replicas."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.merge import merge
from monitoring.metrics import GatewayMetrics, RequestRecord


def _exposition(replica: str, requests: int) -> bytes:
    metrics = GatewayMetrics(CollectorRegistry(), replica=replica)
    for _ in range(requests):
        metrics.request_started("support")
        metrics.request_finished(RequestRecord("support", "triage@1", "stable", duration_s=0.2))
    return metrics.render()


def test_every_family_appears_once_with_the_samples_of_all_replicas() -> None:
    merged = merge({"a": _exposition("a", 2), "b": _exposition("b", 3)}).decode()
    assert merged.count("# TYPE loraplex_requests_total counter\n") == 1
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    samples = {s.labels["replica"]: s.value for s in families["loraplex_requests"].samples if s.name.endswith("_total")}
    assert samples == {"a": 2, "b": 3}


def test_histograms_stay_with_their_family() -> None:
    merged = merge({"a": _exposition("a", 1), "b": _exposition("b", 1)}).decode()
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    duration = families["loraplex_request_duration_seconds"]
    assert duration.type == "histogram"
    assert {sample.name.rpartition("_")[2] for sample in duration.samples} == {"bucket", "sum", "count"}


def test_a_sample_without_the_label_gets_its_replica() -> None:
    text = b'# TYPE vllm:running gauge\nvllm:running{model="m, \\"x\\" }"} 1 1700000000000\nvllm:running 2\n'
    merged = merge({"a": text}).decode().splitlines()
    assert merged[1:] == [
        'vllm:running{model="m, \\"x\\" }",replica="a"} 1 1700000000000',
        'vllm:running{replica="a"} 2',
    ]


def test_a_replica_name_is_escaped() -> None:
    merged = merge({'we"ird\\': b"up 1\n"})
    (family,) = text_string_to_metric_families(merged.decode())
    assert family.samples[0].labels == {"replica": 'we"ird\\'}


def test_a_contradicting_type_leaves_the_first_one_standing() -> None:
    merged = merge({"a": b"# TYPE x counter\nx 1\n", "b": b"# TYPE x gauge\nx 2\n"})
    assert merged == b'# TYPE x counter\nx{replica="a"} 1\n'


def test_a_series_appears_once_even_if_two_replicas_claim_it() -> None:
    assert merge({"a": b'x{replica="z"} 1\n', "b": b'x{replica="z"} 2\n'}) == b'x{replica="z"} 1\n'


def test_a_broken_exposition_does_not_spoil_the_others() -> None:
    merged = merge({"a": b"<html>\xff not metrics\n\n", "b": b"up 1\n"})
    assert merged == b'up{replica="b"} 1\n'


def test_nothing_merges_to_nothing() -> None:
    assert merge({}) == b""
