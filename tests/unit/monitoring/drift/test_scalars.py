"""Numbers and categories."""

import math

import numpy as np
import pytest

from monitoring.drift.permutation import Statistic
from monitoring.drift.scalars import OTHER, CategoryFrequencies, KolmogorovSmirnov

_LABELS = np.array([False, False, False, False, True, True, True, True])


def test_the_distance_of_two_distributions_is_right_where_numbers_are_equal() -> None:
    statistic = KolmogorovSmirnov(np.array([1.0, 1, 2, 3, 1, 2, 2, 3]))

    assert statistic(_LABELS[None, :]).tolist() == [0.25]


def test_numbers_that_are_all_equal_have_no_distance() -> None:
    assert KolmogorovSmirnov(np.full(8, 7.0))(_LABELS[None, :]).tolist() == [0.0]


def test_g_is_twice_the_log_likelihood_ratio_of_the_table() -> None:
    statistic = CategoryFrequencies(["a", "a", "b", "b", "a", "b", "b", "b"])
    expected = 2 * (2 * math.log(2 / 1.5) + math.log(1 / 1.5) + 2 * math.log(2 / 2.5) + 3 * math.log(3 / 2.5))

    assert float(statistic(_LABELS[None, :])[0]) == pytest.approx(expected)
    assert statistic.names == ("b", "a")
    before, now = statistic.shares(_LABELS)
    assert (before.tolist(), now.tolist()) == ([0.5, 0.5], [0.75, 0.25])


def test_several_permutations_at_once_come_to_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    labels = rng.permuted(np.tile(_LABELS, (20, 1)), axis=1)
    statistics: tuple[Statistic, ...] = (
        KolmogorovSmirnov(rng.standard_normal(8)),
        CategoryFrequencies(list("abcabcab")),
    )
    for statistic in statistics:
        assert statistic(labels).tolist() == pytest.approx([float(statistic(row[None, :])[0]) for row in labels])


def test_the_rarest_of_many_categories_are_one() -> None:
    names = [f"common {number % 63}" for number in range(630)] + [f"rare {number}" for number in range(40)]
    statistic = CategoryFrequencies(names)

    assert len(statistic.names) == 64
    assert statistic.names[-1] == OTHER
    before, _ = statistic.shares(np.arange(670) >= 335)
    assert float(before.sum()) == pytest.approx(1.0)
