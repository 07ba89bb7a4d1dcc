"""Merging the expositions of several replicas."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.exposition import Format
from monitoring.merge import merge
from monitoring.metrics import GatewayMetrics, RequestRecord
from tests.expositions import families as read

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _exposition(replica: str, requests: int, form: Format = Format.TEXT) -> bytes:
    metrics = GatewayMetrics(CollectorRegistry(), replica=replica)
    for _ in range(requests):
        metrics.request_started("support")
        record = RequestRecord("support", "triage@1", "stable", duration_s=0.2, trace_id=TRACE)
        metrics.request_finished(record)
    return metrics.render(form)


def test_every_family_appears_once_with_the_samples_of_all_replicas() -> None:
    merged = merge([("a", _exposition("a", 2)), ("b", _exposition("b", 3))]).decode()
    assert merged.count("# TYPE loraplex_requests_total counter\n") == 1
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    samples = {s.labels["replica"]: s.value for s in families["loraplex_requests"].samples if s.name.endswith("_total")}
    assert samples == {"a": 2, "b": 3}


def test_histograms_stay_with_their_family() -> None:
    merged = merge([("a", _exposition("a", 1)), ("b", _exposition("b", 1))]).decode()
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    duration = families["loraplex_request_duration_seconds"]
    assert duration.type == "histogram"
    assert {sample.name.rpartition("_")[2] for sample in duration.samples} == {"bucket", "sum", "count"}


def test_a_sample_without_the_label_gets_its_replica() -> None:
    text = b'# TYPE vllm:running gauge\nvllm:running{model="m, \\"x\\" }"} 1 1700000000000\nvllm:running 2\n'
    merged = merge([("a", text)]).decode().splitlines()
    assert merged[1:] == [
        'vllm:running{model="m, \\"x\\" }",replica="a"} 1 1700000000000',
        'vllm:running{replica="a"} 2',
    ]


def test_a_replica_name_is_escaped() -> None:
    merged = merge([('we"ird\\', b"up 1\n")])
    (family,) = text_string_to_metric_families(merged.decode())
    assert family.samples[0].labels == {"replica": 'we"ird\\'}


def test_a_contradicting_type_leaves_the_first_one_standing() -> None:
    merged = merge([("a", b"# TYPE x counter\nx 1\n"), ("b", b"# TYPE x gauge\nx 2\n")])
    assert merged == b'# TYPE x counter\nx{replica="a"} 1\n'


def test_a_series_appears_once_even_if_two_replicas_claim_it() -> None:
    assert merge([("a", b'x{replica="z"} 1\n'), ("b", b'x{replica="z"} 2\n')]) == b'x{replica="z"} 1\n'


def test_a_broken_exposition_does_not_spoil_the_others() -> None:
    merged = merge([("a", b"<html>\xff not metrics\n\n"), ("b", b"up 1\n")])
    assert merged == b'up{replica="b"} 1\n'


def test_nothing_merges_to_nothing() -> None:
    assert merge([]) == b""


VLLM = b"""\
# HELP vllm:prompt_tokens_total Number of "prefill" tokens.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0"} 12.0
# HELP vllm:iteration_tokens_total Tokens per step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0"} 1.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf"} 2.0
vllm:iteration_tokens_total_count{engine="0"} 2.0
vllm:iteration_tokens_total_sum{engine="0"} 9.0
"""


def test_either_format_becomes_the_one_that_is_asked_for() -> None:
    given = [("a", _exposition("a", 1)), ("b", _exposition("b", 2, Format.OPENMETRICS)), ("b", VLLM)]
    text = merge(given).decode()
    assert "# EOF" not in text
    assert text.count("# TYPE loraplex_requests_total counter\n") == 1
    assert "# TYPE vllm:prompt_tokens_total counter\n" in text
    assert "# TYPE vllm:iteration_tokens_total histogram\n" in text
    assert {family.name for family in text_string_to_metric_families(text)} >= {
        "loraplex_requests",
        "vllm:prompt_tokens",
        "vllm:iteration_tokens_total",
    }
    whole = merge(given, Format.OPENMETRICS).decode()
    assert whole.endswith("\n# EOF\n")
    assert "# TYPE loraplex_requests counter\n" in whole
    assert "# TYPE vllm:prompt_tokens counter\n" in whole
    assert '# HELP vllm:prompt_tokens Number of \\"prefill\\" tokens.\n' in whole
    assert 'vllm:prompt_tokens_total{engine="0",replica="b"} 12.0\n' in whole
    names = [family.name for family in read(whole.encode(), Format.OPENMETRICS)]
    assert len(names) == len(set(names))


def test_help_with_quotes_comes_back_as_it_was() -> None:
    there = merge([("a", VLLM)], Format.OPENMETRICS)
    assert b'# HELP vllm:prompt_tokens_total Number of "prefill" tokens.\n' in merge([("a", there)])


def test_exemplars_survive_in_openmetrics_and_are_left_out_of_text() -> None:
    given = [("a", _exposition("a", 1, Format.OPENMETRICS))]
    assert f'# {{trace_id="{TRACE}"}} 0.2 '.encode() in merge(given, Format.OPENMETRICS)
    assert b"trace_id" not in merge(given)
    assert list(text_string_to_metric_families(merge(given).decode()))


def test_a_samples_own_time_keeps_its_meaning() -> None:
    text = b"# TYPE x gauge\nx 1 1700000000500\n"
    there = merge([("a", text)], Format.OPENMETRICS)
    assert b'x{replica="a"} 1 1700000000.500\n' in there
    assert b'x{replica="a"} 1 1700000000500\n' in merge([("a", there)])


def test_a_counter_without_the_suffix_is_unknown_to_openmetrics() -> None:
    merged = merge([("a", b"# TYPE hits counter\nhits 1\n")], Format.OPENMETRICS)
    assert merged == b'# TYPE hits unknown\nhits{replica="a"} 1\n# EOF\n'


def test_nothing_is_an_exposition_of_openmetrics_too() -> None:
    assert merge([], Format.OPENMETRICS) == b"# EOF\n"


def test_a_line_separator_in_a_label_ends_no_line() -> None:
    merged = merge([("a", 'x{y="one\u2028two\x85three"} 1\n'.encode())]).decode()
    assert merged == 'x{y="one\u2028two\x85three",replica="a"} 1\n'
