"""Maximum mean discrepancy."""

import numpy as np
import pytest

from monitoring.drift.embedding import MeanDiscrepancy
from monitoring.drift.permutation import permutation_test
from monitoring.drift.types import Labels, Vectors
from tests.drift_traffic import Traffic

_LABELS: Labels = np.arange(300) >= 200


def _shifted(seed: int, share: float) -> Vectors:
    """200 rows, and 100 of which a share is of the first topic alone."""
    traffic, more = Traffic(seed), round(100 * share)
    return traffic.vectors([*traffic.usual(300 - more), *([0] * more)])


def _exact(vectors: Vectors, labels: Labels) -> float:
    """By the kernels themselves."""
    away = 2 - 2 * (vectors.astype(np.float64) @ vectors.T)
    kernel = (np.exp(-away / (2 * away.mean())) + np.exp(-away / (0.5 * away.mean()))) / 2
    weights = np.where(labels, 1 / labels.sum(), -1 / (~labels).sum())
    return float(weights @ kernel @ weights)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_the_statistic_is_about_that_of_the_kernels_themselves(share: float) -> None:
    vectors = _shifted(1, share)
    statistic = MeanDiscrepancy(vectors, np.random.default_rng(1))

    assert float(statistic(_LABELS[None, :])[0]) == pytest.approx(_exact(vectors, _LABELS), rel=0.15)


def test_a_shift_is_found_and_the_larger_one_has_the_larger_effect() -> None:
    effects = []
    for share in (0.0, 0.3, 0.8):
        statistic = MeanDiscrepancy(_shifted(2, share), np.random.default_rng(2))
        effects.append(statistic.effect(_LABELS))
        if share:
            assert permutation_test(statistic, _LABELS, 399, np.random.default_rng(3)).p_value == 1 / 400
    assert effects == sorted(effects)
    assert effects[0] < 0.1 < effects[2] < 1


def test_equal_windows_are_found_different_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(4)
    alarms = sum(
        permutation_test(MeanDiscrepancy(_shifted(seed, 0.0), rng), _LABELS, 199, rng).p_value <= 0.1
        for seed in range(60)
    )

    assert alarms <= 14


def test_prompts_that_are_all_the_same_have_not_shifted() -> None:
    statistic = MeanDiscrepancy(np.tile(Traffic(1).vectors([0]), (300, 1)), np.random.default_rng(5))

    assert float(statistic(_LABELS[None, :])[0]) == pytest.approx(0.0, abs=1e-6)
    assert statistic.effect(_LABELS) == pytest.approx(0.0, abs=1e-3)
