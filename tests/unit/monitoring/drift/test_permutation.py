"""Two-sample tests by permutation."""

import math

import numpy as np
import pytest

from monitoring.drift.likelihood import log_likelihood_ratio
from monitoring.drift.permutation import permutation_test, permutations_for
from monitoring.drift.scalars import KolmogorovSmirnov
from monitoring.drift.types import FloatArray, Labels


def _labels(reference: int, live: int) -> Labels:
    return np.arange(reference + live) >= reference


class _Mean:
    """Statistic: the mean of the live rows."""

    def __init__(self, values: FloatArray) -> None:
        self._values = values

    def __call__(self, labels: Labels) -> FloatArray:
        found: FloatArray = (labels * self._values).sum(axis=1) / labels.sum(axis=1)
        return found


def test_equal_windows_give_small_p_values_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(1)
    p_values = [
        permutation_test(KolmogorovSmirnov(rng.standard_normal(70)), _labels(40, 30), 399, rng).p_value
        for _ in range(400)
    ]

    # 400 draws with probability 0.1 (0.02) come to more than 60 (18) once in a thousand times at most.
    assert sum(p <= 0.1 for p in p_values) <= 60
    assert sum(p <= 0.02 for p in p_values) <= 18
    assert sum(p <= 0.5 for p in p_values) >= 130


def test_a_shift_gets_the_smallest_p_value_there_is() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.standard_normal(30), rng.standard_normal(30) + 10])

    found = permutation_test(_Mean(values), _labels(30, 30), 999, rng)

    assert found.p_value == 1 / 1_000
    assert found.permutations == 999


def test_no_more_is_drawn_once_it_is_plain_that_nothing_is_to_be_found() -> None:
    found = permutation_test(_Mean(np.ones(50)), _labels(25, 25), 10_000, np.random.default_rng(3))

    assert found.p_value == 1.0
    assert found.permutations == 10


def test_the_p_value_is_that_of_all_permutations() -> None:
    """Of the 20 ways to choose 3 of 6, two part the numbers as widely."""
    rng = np.random.default_rng(4)
    statistic = KolmogorovSmirnov(np.arange(6, dtype=np.float64))

    p_values = [permutation_test(statistic, _labels(3, 3), 9_999, rng).p_value for _ in range(40)]

    assert np.mean(p_values) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.0007])
def test_a_test_draws_enough_to_come_well_below_its_level(alpha: float) -> None:
    assert 1 / (permutations_for(alpha) + 1) <= alpha / 4.9


def test_the_likelihood_ratio_is_that_of_two_rates_against_one() -> None:
    # Four of four rows in the zone are live, none of four outside; together half of them are.
    assert float(log_likelihood_ratio(4, 4, 4, 8)) == pytest.approx(8 * math.log(2))
    inside = 3 * math.log(0.6) + 2 * math.log(0.4)
    outside = 7 * math.log(7 / 95) + 88 * math.log(88 / 95)
    together = 10 * math.log(0.1) + 90 * math.log(0.9)
    assert float(log_likelihood_ratio(3, 5, 10, 100)) == pytest.approx(inside + outside - together)


def test_a_zone_with_too_few_live_rows_counts_for_nothing() -> None:
    assert log_likelihood_ratio(np.array([0, 1, 2]), 4, 50, 100).tolist() == [0.0, 0.0, 0.0]


class _Rounded:
    """Statistic: the mean of the live rows; one alone comes out larger by rounding than among many."""

    def __init__(self, values: FloatArray) -> None:
        self._mean = _Mean(values)

    def __call__(self, labels: Labels) -> FloatArray:
        found = self._mean(labels)
        return found * (1 + 1e-7) if len(labels) == 1 else found


def test_values_that_differ_by_rounding_count_as_equal() -> None:
    found = permutation_test(_Rounded(np.full(50, 0.3)), _labels(25, 25), 399, np.random.default_rng(5))

    assert found.p_value == 1.0


def test_whoever_waits_is_told_that_it_goes_on() -> None:
    beats: list[None] = []
    values = np.concatenate([np.zeros(30), np.ones(30)])

    permutation_test(_Mean(values), _labels(30, 30), 500, np.random.default_rng(6), lambda: beats.append(None))

    assert len(beats) == 10
