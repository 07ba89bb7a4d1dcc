"""Intervals and noise, against known values and against the truth."""

import math
import random

import pytest
from scipy.stats import binomtest

from training.evaluation.intervals import interval_of_macro_f1, interval_of_mean, noise, standard_error, wilson
from training.evaluation.scorers.classification import confusion


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (50, 100), (1, 1), (999, 1000)])
def test_wilson_is_scipys(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    found = wilson(successes, trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_shares_get_wilson_and_others_a_bootstrap() -> None:
    assert interval_of_mean([1.0, 0.0, 1.0]).method == "wilson"
    assert interval_of_mean([1.0, 0.5, 1.0]).method == "bootstrap"


def test_an_interval_is_the_same_each_time() -> None:
    values = [random.Random(1).random() for _ in range(50)]
    assert interval_of_mean(values) == interval_of_mean(values)


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        interval_of_mean([])


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    chance = random.Random(3)
    covered = 0
    for _ in range(60):
        values = [chance.choice((0.0, 0.25, 0.5, 1.0)) for _ in range(60)]
        found = interval_of_mean(values)
        covered += found.low <= 0.4375 <= found.high
    assert covered >= 50


def test_noise_tells_repeats_from_cases() -> None:
    found = noise([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert found is not None
    assert found.agreement == 0.5
    # Two cases with variance 1/2 in two repeats each: sqrt(2 * (1/2) / 2) / 4.
    assert found.se_repeats == pytest.approx(math.sqrt(0.5) / 4)
    assert found.se_cases == pytest.approx(standard_error([1.0, 0.0, 0.5, 0.5]))


def test_without_repeats_nothing_is_said_of_noise() -> None:
    assert noise([[1.0], [0.0]]) is None


def test_the_interval_of_macro_f1_holds_its_value() -> None:
    chance = random.Random(5)
    pairs = [(wanted, wanted if chance.random() < 0.7 else chance.randrange(4)) for wanted in [0, 1, 2] * 40]
    found = interval_of_macro_f1([[pair] for pair in pairs], 3)
    value = confusion([(str(wanted), None if said == 3 else str(said)) for wanted, said in pairs]).macro_f1
    assert found.low < value < found.high
    assert found.high - found.low < 0.3


def test_a_perfect_run_has_no_doubt_in_macro_f1() -> None:
    found = interval_of_macro_f1([[(0, 0), (0, 0)], [(1, 1), (1, 1)]], 2)
    assert (found.low, found.high) == (1.0, 1.0)
