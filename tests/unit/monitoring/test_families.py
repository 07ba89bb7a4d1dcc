"""Families whose label sets are bounded."""

from threading import Thread

import pytest
from prometheus_client import CollectorRegistry

from monitoring.exposition import Format, render
from monitoring.families import LONGEST_VALUE, CounterFamily, GaugeFamily, HistogramFamily, build_family
from monitoring.spec import MetricSpec
from tests.expositions import families

COUNTER = MetricSpec("hits_total", "counter", "events", "Hits.", ("task", "outcome"))
GAUGE = MetricSpec("level", "gauge", "requests", "Level.", ("task",))
HISTOGRAM = MetricSpec("wait_seconds", "histogram", "seconds", "Wait.", ("task",), (0.1, 1.0))
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def refused() -> list[str]:
    """Why label sets were not kept as they were."""
    return []


def _counter(registry: CollectorRegistry, refused: list[str], most: int = 1000) -> CounterFamily:
    family = build_family(COUNTER, registry, "r", most_series=most, refused=refused.append)
    assert isinstance(family, CounterFamily)
    return family


def _gauge(registry: CollectorRegistry, refused: list[str], most: int = 1000) -> GaugeFamily:
    family = build_family(GAUGE, registry, "r", most_series=most, refused=refused.append)
    assert isinstance(family, GaugeFamily)
    return family


def _histogram(registry: CollectorRegistry, refused: list[str], most: int = 1000) -> HistogramFamily:
    family = build_family(HISTOGRAM, registry, "r", most_series=most, refused=refused.append)
    assert isinstance(family, HistogramFamily)
    return family


def test_a_value_on_a_bound_belongs_to_its_bucket(registry: CollectorRegistry, refused: list[str]) -> None:
    child = _histogram(registry, refused).labels("a")
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        child.observe(value)
    buckets = [
        registry.get_sample_value("wait_seconds_bucket", {"replica": "r", "task": "a", "le": bound})
        for bound in ("0.1", "1.0", "+Inf")
    ]
    assert buckets == [2, 4, 5]
    assert registry.get_sample_value("wait_seconds_count", {"replica": "r", "task": "a"}) == 5
    assert registry.get_sample_value("wait_seconds_sum", {"replica": "r", "task": "a"}) == pytest.approx(8.65)


def test_many_values_at_once_count_like_one_after_the_other(registry: CollectorRegistry, refused: list[str]) -> None:
    family, values = _histogram(registry, refused), [0.05, 0.1, 0.5, 3.0]
    for value in values:
        family.labels("one").observe(value)
    family.labels("all").observe_all(values)
    family.labels("all").observe_all([])
    assert family.labels("one").state() == family.labels("all").state()


def test_the_exemplar_of_many_values_is_the_largest(registry: CollectorRegistry, refused: list[str]) -> None:
    child = _histogram(registry, refused).labels("a")
    child.observe_all([0.05, 3.0, 0.5], TRACE)
    _, _, exemplars = child.state()
    assert {place: exemplar.value for place, exemplar in exemplars.items()} == {2: 3.0}
    (family,) = families(render(registry, Format.OPENMETRICS), Format.OPENMETRICS)
    found = [sample.exemplar.labels for sample in family.samples if sample.exemplar]
    assert found == [{"trace_id": TRACE}]


def test_the_text_format_has_no_exemplars(registry: CollectorRegistry, refused: list[str]) -> None:
    _histogram(registry, refused).labels("a").observe(0.5, TRACE)
    assert b"trace_id" not in render(registry)


def test_a_counter_never_goes_down(registry: CollectorRegistry, refused: list[str]) -> None:
    child = _counter(registry, refused).labels("a", "ok")
    with pytest.raises(ValueError, match="never goes down"):
        child.inc(-1)


def test_another_number_of_labels_is_an_error(registry: CollectorRegistry, refused: list[str]) -> None:
    with pytest.raises(ValueError, match="hits_total has the labels"):
        _counter(registry, refused).labels("a")


def test_counts_beyond_the_limit_are_kept_under_other_with_their_outcome(
    registry: CollectorRegistry, refused: list[str]
) -> None:
    family = _counter(registry, refused, most=10)
    for number in range(1000):
        family.labels(f"task-{number}", "ok" if number % 2 else "error").inc()
    assert family.label_sets == 12
    assert refused == ["limit"] * 990
    samples = [sample for metric in family.collect() for sample in metric.samples]
    assert sum(sample.value for sample in samples) == 1000
    others = {sample.labels["outcome"]: sample.value for sample in samples if sample.labels["task"] == "other"}
    assert others == {"ok": 495, "error": 495}


def test_even_labels_of_our_own_cannot_outgrow_the_limit_for_ever(
    registry: CollectorRegistry, refused: list[str]
) -> None:
    family = _counter(registry, refused, most=10)
    for number in range(5000):
        family.labels("a", f"outcome-{number}").inc()
    assert family.label_sets == 111
    assert sum(sample.value for metric in family.collect() for sample in metric.samples) == 5000


def test_a_histogram_costs_as_much_as_its_buckets(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _histogram(registry, refused, most=50)
    for number in range(100):
        family.labels(f"task-{number}").observe(0.5)
    assert family.label_sets == 50 // HISTOGRAM.samples + 1
    samples = [sample for metric in family.collect() for sample in metric.samples]
    assert sum(sample.value for sample in samples if sample.name == "wait_seconds_count") == 100


def test_gauges_beyond_the_limit_are_left_out(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _gauge(registry, refused, most=10)
    for number in range(100):
        family.labels(f"task-{number}").set(number)
    assert family.label_sets == 10
    assert refused == ["limit"] * 90
    assert all(sample.labels["task"] != "other" for metric in family.collect() for sample in metric.samples)


@pytest.mark.parametrize(
    "hostile", ["a\nb 1", "\ud800", "\x00", "a\u2028b", "a\x85b", "a\rb", "x" * (LONGEST_VALUE + 1)]
)
def test_a_value_that_could_spoil_the_exposition_becomes_other(
    registry: CollectorRegistry, refused: list[str], hostile: str
) -> None:
    _counter(registry, refused).labels(hostile, "ok").inc()
    (family,) = families(render(registry))
    assert [sample.labels["task"] for sample in family.samples] == ["other"]
    assert refused == ["value"]


@pytest.mark.parametrize("strange", ['a"b', "a\\b", "a{b}", "日本語", "a b", 'x",le="1'])
def test_a_value_that_is_only_strange_is_shown_as_it_is(
    registry: CollectorRegistry, refused: list[str], strange: str
) -> None:
    _counter(registry, refused).labels(strange, "ok").inc()
    for form in Format:
        (family,) = families(render(registry, form), form)
        assert [sample.labels["task"] for sample in family.samples] == [strange]
    assert refused == []


def test_series_are_removed_by_some_of_their_labels(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _counter(registry, refused)
    for task, outcome in (("a", "ok"), ("a", "error"), ("b", "ok")):
        family.labels(task, outcome).inc()
    family.remove_by_labels({"task": "a"})
    assert family.label_sets == 1
    family.labels("a", "ok").inc()
    assert registry.get_sample_value("hits_total", {"replica": "r", "task": "a", "outcome": "ok"}) == 1


def test_room_that_was_given_back_can_be_used_again(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _counter(registry, refused, most=1)
    family.labels("a", "ok").inc()
    family.remove_by_labels({"task": "a"})
    family.labels("b", "ok").inc()
    assert refused == []


def test_series_of_many_values_are_removed_at_once(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _counter(registry, refused)
    for task in ("a", "b", "c"):
        family.labels(task, "ok").inc()
    family.remove_values("task", {"a", "c", "z"})
    assert [sample.labels["task"] for metric in family.collect() for sample in metric.samples] == ["b"]


def test_threads_lose_no_count(registry: CollectorRegistry, refused: list[str]) -> None:
    family = _counter(registry, refused, most=5)

    def count() -> None:
        for number in range(2000):
            family.labels(f"task-{number % 20}", "ok").inc()

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sample.value for metric in family.collect() for sample in metric.samples) == 8000
