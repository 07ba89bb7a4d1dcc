"""Reading expositions, what counters grew by, and quantiles."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from monitoring.readings import Exposition, grouped, histograms, increases, quantile, read_exposition, spread

NAME = "loraplex_requests_total"


def scrape(at: float = 0.0, **counts: float) -> Exposition:
    """One counter; the arguments are replicas."""
    lines = [f'{NAME}{{replica="{replica}",task="a"}} {count}' for replica, count in counts.items()]
    return read_exposition("\n".join(lines), at)


def test_labels_are_read_as_they_were_written() -> None:
    registry = CollectorRegistry()
    hostile = 'a"b\\c\nd{e}, f="g"'
    Counter("loraplex_things_total", "Things.", ["task", "replica"], registry=registry).labels(hostile, "r").inc(3)
    read = read_exposition(generate_latest(registry).decode(), 1.5)

    assert read.values("loraplex_things_total") == {(("replica", "r"), ("task", hostile)): 3.0}
    assert read.at == 1.5
    assert read.replicas == {"r"}


def test_what_is_no_sample_of_ours_is_passed_over() -> None:
    text = '# HELP loraplex_a A.\nloraplex_a 1\nvllm:b{x="1"} 2\nloraplex_c{broken 3\nloraplex_d NaN\nloraplex_e x\n'

    assert dict(read_exposition(text, 0).series) == {"loraplex_a": {(): 1.0}}


def test_an_exemplar_and_a_timestamp_do_not_disturb_the_value() -> None:
    text = 'loraplex_a{le="1"} 4 # {trace_id="x"} 0.5 1700000000.0\nloraplex_b 5 1700000000000'

    assert dict(read_exposition(text, 0).series) == {"loraplex_a": {(("le", "1"),): 4.0}, "loraplex_b": {(): 5.0}}


def test_a_counter_grows_by_its_difference() -> None:
    grown = increases(scrape(r0=10, r1=5), scrape(r0=14, r1=5), NAME)

    assert grouped(grown, ["replica"]) == {("r0",): 4.0, ("r1",): 0.0}
    assert grouped(grown, ["task"]) == {("a",): 4.0}
    assert grouped(grown, ["nowhere"]) == {("",): 4.0}


def test_a_counter_that_fell_counts_from_zero() -> None:
    assert sum(increases(scrape(r0=100), scrape(r0=7), NAME).values()) == 7


def test_a_new_replica_counts_only_from_its_second_scrape_on() -> None:
    assert increases(scrape(r0=1), scrape(r0=2, r1=1000), NAME) == {(("replica", "r0"), ("task", "a")): 1.0}


def test_a_new_series_of_a_known_replica_counts_whole() -> None:
    before = read_exposition('loraplex_other{replica="r0"} 1', 0)

    assert sum(increases(before, scrape(r0=3), NAME).values()) == 3


def test_the_extremes_over_replicas_are_told() -> None:
    assert spread(scrape(r0=3, r1=8).values(NAME), ["task"]) == {("a",): (3.0, 8.0)}


def test_a_quantile_is_linear_within_its_bucket() -> None:
    buckets = {1.0: 10.0, 2.0: 20.0, math.inf: 20.0}

    assert quantile(0.25, buckets) == pytest.approx(0.5)
    assert quantile(0.5, buckets) == pytest.approx(1.0)
    assert quantile(0.75, buckets) == pytest.approx(1.5)
    assert quantile(1.0, buckets) == pytest.approx(2.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile(0.95, {1.0: 1.0, 2.0: 1.0, math.inf: 10.0}) == 2.0


@pytest.mark.parametrize("buckets", [{}, {math.inf: 3.0}, {1.0: 3.0, 2.0: 4.0}, {1.0: 0.0, math.inf: 0.0}])
def test_without_observations_there_is_no_quantile(buckets: dict[float, float]) -> None:
    assert quantile(0.5, buckets) is None


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_observation_at_its_rank(values: list[float], q: float) -> None:
    registry = CollectorRegistry()
    bounds = (0.5, 1.0, 2.5, 5.0, 10.0)
    histogram = Histogram("loraplex_seconds", "Seconds.", registry=registry, buckets=bounds)
    for value in values:
        histogram.observe(value)
    read = read_exposition(generate_latest(registry).decode(), 0)
    [buckets] = histograms(read.values("loraplex_seconds_bucket"), []).values()
    found = quantile(q, buckets)
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    upper = next((bound for bound in bounds if exact <= bound), bounds[-1])
    lower = max((bound for bound in bounds if bound < exact), default=0.0)

    assert found is not None
    assert min(lower, bounds[-1]) <= found <= upper


def test_sums_that_fall_are_mended_before_a_quantile_is_taken() -> None:
    assert quantile(0.9, {1.0: 10.0, 2.0: 8.0, math.inf: 10.0}) == pytest.approx(0.9)
