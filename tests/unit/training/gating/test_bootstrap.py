"""Graded answers to the same cases."""

import numpy as np
import pytest
from scipy import stats

from training.gating.bootstrap import bootstrap


def test_limits_are_those_of_the_bca_method() -> None:
    """Against scipy's, whose level is not widened: at 400 cases that changes little."""
    values = np.random.default_rng(1).beta(2, 6, 400) - 0.25
    expected = stats.bootstrap((values,), np.mean, confidence_level=0.9, n_resamples=20_000, rng=2).confidence_interval

    found = bootstrap(values, resamples=20_000, seed=1)

    assert (found.lower(0.05), found.upper(0.05)) == pytest.approx((expected.low, expected.high), abs=6e-4)


def test_small_samples_get_limits_as_wide_as_students() -> None:
    values = np.random.default_rng(3).normal(0, 0.05, 12)
    expected = stats.t.interval(0.9, 11, loc=values.mean(), scale=stats.sem(values))
    plain = stats.bootstrap((values,), np.mean, confidence_level=0.9, rng=2).confidence_interval

    found = bootstrap(values, resamples=20_000, seed=1)

    assert found._quantile(0.05) > found.lower(0.05)
    assert plain.high - plain.low < expected[1] - expected[0]
    assert found.upper(0.05) - found.lower(0.05) >= 0.97 * (expected[1] - expected[0])


@pytest.mark.parametrize("threshold", [-0.04, -0.03, -0.01])
def test_the_p_value_is_the_level_whose_limit_is_the_threshold(threshold: float) -> None:
    values = np.random.default_rng(5).normal(0, 0.2, 120)
    found = bootstrap(values - values.mean(), resamples=50_000, seed=1)

    assert found.lower(found.p_value(threshold)) == pytest.approx(threshold, abs=1e-3)


def test_the_same_seed_gives_the_same_answer() -> None:
    values = np.random.default_rng(7).normal(0, 0.2, 50)

    first, second, third = (bootstrap(values, resamples=2000, seed=seed) for seed in (1, 1, 2))

    assert first.lower(0.05) == second.lower(0.05)
    assert first.means.tolist() != third.means.tolist()


def test_losses_that_no_case_showed_are_reckoned_with() -> None:
    """A candidate that loses 5 % of all cases whole shows none of them on 40 cases one time in eight."""
    few, many = (bootstrap(np.zeros(n), resamples=1000, seed=1) for n in (40, 100))

    assert few.p_value(-0.05) == pytest.approx(0.95**40)
    assert few.lower(0.05) < -0.05 < many.lower(0.05)
    assert many.p_value(-0.05) < 0.05


def test_a_mean_below_the_threshold_is_no_evidence() -> None:
    assert bootstrap(np.array([0.1, 0.0, -0.5]), resamples=1000, seed=1).p_value(0.0) == 1.0


def test_one_case_is_refused() -> None:
    with pytest.raises(ValueError, match="two cases"):
        bootstrap(np.zeros(1), resamples=1000, seed=1)


def _graded(rng: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """Differences with a mean of exactly -0.05, the boundary."""
    if kind == "skewed":
        return np.where(rng.random(n) < 0.1, -rng.beta(5, 5, n), 0.0)
    return np.clip(rng.normal(-0.05, 0.25, n), -1, 1)


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_false_promotions_at_the_boundary_are_rare(kind: str) -> None:
    rng = np.random.default_rng(23)
    passed = sum(bootstrap(_graded(rng, 80, kind), resamples=1000, seed=1).p_value(-0.05) <= 0.05 for _ in range(300))

    assert passed <= 0.05 * 300 + 2 * np.sqrt(300 * 0.05 * 0.95)
