"""The arithmetic of the reports."""

import pytest

from benchmarks.report import Target
from benchmarks.stats import differences, percentile, quantiles_ms, ratios


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([10, 20], 0.9) == pytest.approx(19)


@pytest.mark.parametrize(("share", "value"), [(0, 1), (1, 9)])
def test_the_ends_are_the_smallest_and_the_largest_value(share: float, value: float) -> None:
    assert percentile([9, 1, 5], share) == value


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_share_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        percentile([1], 50)


def test_quantiles_are_in_milliseconds_and_empty_without_values() -> None:
    assert quantiles_ms([0.001, 0.003]) == {"p50": 2.0, "p90": 2.8, "p99": 2.98}
    assert quantiles_ms([]) == {}


def test_one_disturbed_round_does_not_move_the_median_ratio() -> None:
    assert ratios([98, 97, 10, 99, 98], [100, 100, 100, 100, 100]).median == pytest.approx(0.98)


def test_differences_are_taken_round_by_round() -> None:
    report = differences([5, 7], [4, 4]).report()
    assert report == {"median": 2.0, "median_interval_95": None, "low": 1, "high": 3, "rounds": [1, 3]}


@pytest.mark.parametrize(("rounds", "interval"), [(5, None), (6, (1, 6)), (12, (3, 10)), (20, (6, 15))])
def test_the_interval_of_the_median_is_that_of_the_sign_test(rounds: int, interval: tuple[int, int] | None) -> None:
    # The columns of the published tables: n = 6, 12 and 20 give the order statistics 1, 3 and 6 from either end.
    assert ratios(range(rounds, 0, -1), [1] * rounds).interval == interval


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        ratios([1, 2], [1])


@pytest.mark.parametrize(("value", "at_least", "passed"), [(0.98, True, True), (0.96, True, False), (4, False, False)])
def test_a_target_knows_which_side_is_good(value: float, at_least: bool, passed: bool) -> None:  # noqa: FBT001
    assert Target("throughput", value, 0.97, at_least=at_least).passed is passed
