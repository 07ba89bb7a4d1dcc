"""Queries are written from the catalogue, and hold to it."""

import pytest

from monitoring.catalogue import ADAPTER_LOAD, CATALOG_REACHABLE, IN_FLIGHT, REQUESTS, TTFT
from monitoring.dashboards.promql import Scope, UnknownLabel, WrongKind, chosen, differs, equals, one_of

SCOPE = Scope(equals("loraplex"), "5m")


def test_a_rate_is_summed_over_all_labels_but_those_asked_for() -> None:
    assert SCOPE.rate(REQUESTS, "task").text == 'sum by (task) (rate(loraplex_requests_total{job="loraplex"}[5m]))'


def test_a_rate_of_a_histogram_counts_its_observations() -> None:
    query = SCOPE.rate(TTFT, over="1h")

    assert query.text == 'sum (rate(loraplex_time_to_first_token_seconds_count{job="loraplex"}[1h]))'


def test_a_quantile_keeps_the_buckets_apart() -> None:
    query = SCOPE.quantile(0.95, ADAPTER_LOAD, "tier", adapter=differs("a"))

    assert query.text == (
        "histogram_quantile(0.95, sum by (le, tier) "
        '(rate(loraplex_adapter_load_seconds_bucket{job="loraplex",adapter!="a"}[5m])))'
    )


def test_a_share_is_zero_where_nothing_of_it_was_counted() -> None:
    query = SCOPE.share(REQUESTS, "task", outcome=one_of("timeout", "server_error"))
    part = 'sum by (task) (rate(loraplex_requests_total{job="loraplex",outcome=~"timeout|server_error"}[5m]))'
    total = 'sum by (task) (rate(loraplex_requests_total{job="loraplex"}[5m]))'

    assert query.text == f"({part} or 0 * {total}) / {total}"


def test_what_an_operator_holds_together_is_put_into_parentheses() -> None:
    one = SCOPE.series(CATALOG_REACHABLE)
    text = one.text

    assert one.minus(one).plus(0.001).over(one).text == f"(({text} - {text}) + 0.001) / {text}"
    assert one.equal_to(0).or_(one.through("absent")).text == f"({text} == 0)\nor\nabsent({text})"


def test_a_scope_holds_every_metric_that_has_the_label_to_it() -> None:
    scope = Scope(chosen("job"), "$__rate_interval", {"task": chosen("task")})

    assert scope.now(IN_FLIGHT).text == 'sum (loraplex_requests_in_flight{job=~"$job",task=~"$task"})'
    assert scope.now(CATALOG_REACHABLE).text == 'sum (loraplex_catalog_reachable{job=~"$job"})'


def test_a_value_cannot_break_out_of_its_quotes() -> None:
    query = SCOPE.series(REQUESTS, task=equals('a"} or vector(1) #\\'))

    assert query.text == 'loraplex_requests_total{job="loraplex",task="a\\"} or vector(1) #\\\\"}'


def test_a_query_knows_what_it_reads() -> None:
    query = SCOPE.share(REQUESTS, outcome=equals("ok")).and_(SCOPE.now(IN_FLIGHT).above(0))

    assert query.metrics == {REQUESTS, IN_FLIGHT}


def test_a_label_that_a_metric_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownLabel, match="has no label `stage`"):
        SCOPE.rate(REQUESTS, "stage")
    with pytest.raises(UnknownLabel, match="has no label `colour`"):
        SCOPE.series(REQUESTS, colour=equals("red"))


def test_a_function_that_does_not_fit_the_kind_is_refused() -> None:
    with pytest.raises(WrongKind, match="is a gauge"):
        SCOPE.rate(IN_FLIGHT)
    with pytest.raises(WrongKind, match="not a histogram"):
        SCOPE.quantile(0.5, REQUESTS)
    with pytest.raises(WrongKind, match="not a gauge"):
        SCOPE.now(REQUESTS)


def test_many_series_may_share_one_of_the_others() -> None:
    many, one = SCOPE.series(REQUESTS), SCOPE.series(IN_FLIGHT)

    assert many.times(one.times(-1).plus(1), on=("task",)).text == (
        f"{many.text} * on (task) group_left () (({one.text} * -1) + 1)"
    )


def test_a_function_takes_its_further_arguments() -> None:
    assert SCOPE.series(IN_FLIGHT).through("clamp_min", 0.005).text == (
        'clamp_min(loraplex_requests_in_flight{job="loraplex"}, 0.005)'
    )
