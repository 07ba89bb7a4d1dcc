"""How many cases show what."""

import numpy as np
import pytest

from training.gating.paired import p_value
from training.gating.power import Truth, cases_needed, fewest_cases, power


@pytest.mark.parametrize(("difference", "discordant", "threshold"), [(0.0, 0.1, -0.05), (0.06, 0.2, 0.0)])
@pytest.mark.parametrize("n", [100, 300])
def test_computed_power_is_the_share_of_simulated_runs_that_pass(
    difference: float, discordant: float, threshold: float, n: int
) -> None:
    rng = np.random.default_rng(29)
    win, loss = (discordant + difference) / 2, (discordant - difference) / 2
    pairs = rng.multinomial(n, [win, loss, 1 - win - loss], 800)
    passed = np.mean([p_value(int(wins), int(losses), n, threshold) <= 0.05 for wins, losses, _ in pairs])

    assert power(Truth.of_shares(difference, discordant, threshold), n, threshold, 0.05) == pytest.approx(
        passed, abs=0.08
    )


def test_the_cases_needed_give_the_power_that_was_asked_for() -> None:
    truth = Truth.of_shares(0.0, 0.1, -0.05)
    needed = cases_needed(truth, -0.05, 0.05, 0.8)

    assert needed is not None
    assert power(truth, needed, -0.05, 0.05) == pytest.approx(0.8, abs=0.005)
    assert power(truth, needed - 10, -0.05, 0.05) < 0.8


def test_no_number_of_cases_shows_what_is_not_so() -> None:
    assert cases_needed(Truth.of_scores(-0.05, 0.2), -0.05, 0.05, 0.8) is None


def test_versions_that_never_differ_still_need_cases() -> None:
    assert fewest_cases(0.05, 0.05) == 59
    assert cases_needed(Truth.of_scores(0.0, 0.0), -0.05, 0.05, 0.8) == 59
    assert power(Truth.of_scores(0.0, 0.0), 59, -0.05, 0.05) == 1.0
    assert power(Truth.of_scores(0.0, 0.0), 58, -0.05, 0.05) == 0.0
    assert power(Truth.of_scores(-0.1, 0.0), 59, -0.05, 0.05) == 0.0
