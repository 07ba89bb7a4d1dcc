"""Right and wrong answers to the same cases."""

import itertools

import numpy as np
import pytest
from scipy import stats

from training.gating.paired import interval, mcnemar, p_value, score_statistic
from training.shares import wilson


def _chance(wins: int, losses: int, n: int, win: float, loss: float) -> float:
    # In sums of thirds and tenths a probability of zero may come out a little below it.
    both = np.clip([win, loss], 0, 1 - 1e-12)
    rest = max(0.0, 1 - both.sum())
    return float(stats.multinomial.pmf([wins, losses, n - wins - losses], n, [*both, rest]))


@pytest.mark.parametrize("difference", [-0.1, -0.05, 0.0, 0.05])
@pytest.mark.parametrize("n", [8, 25])
def test_false_promotions_stay_below_alpha_whatever_the_truth_at_the_boundary(n: int, difference: float) -> None:
    """Every outcome is counted, so this is the error rate itself."""
    outcomes = [(wins, losses) for wins in range(n + 1) for losses in range(n + 1 - wins)]
    rejected = [one for one in outcomes if p_value(*one, n, difference) <= 0.05]

    for loss in np.linspace(max(0, -difference), (1 - difference) / 2, 25):
        error = sum(_chance(*one, n, max(0.0, loss + difference), loss) for one in rejected)
        assert error <= 0.05


def test_the_p_value_is_the_largest_tail_over_the_nuisance_parameter() -> None:
    """Against a sum over every outcome, in the plainest way, without the interval of the nuisance parameter."""
    n, wins, losses, difference = 20, 6, 3, -0.1
    seen = score_statistic(wins, losses, n, difference)
    extreme = [
        (w, x) for w, x in itertools.product(range(n + 1), repeat=2)
        if w + x <= n and score_statistic(w, x, n, difference) >= seen - 1e-9
    ]  # fmt: skip
    tails = [sum(_chance(*one, n, q - 0.1, q) for one in extreme) for q in np.linspace(0.1, 0.55, 200)]

    assert p_value(wins, losses, n, difference) == pytest.approx(max(tails) + 0.001, abs=5e-4)


def test_the_statistic_is_that_of_tango() -> None:
    """At no difference it is McNemar's."""
    assert score_statistic(10, 3, 100, 0.0) == pytest.approx(7 / np.sqrt(13))
    assert score_statistic(0, 0, 100, 0.0) == 0.0


@pytest.mark.parametrize(("wins", "losses", "n"), [(10, 3, 100), (0, 0, 40), (20, 20, 300), (0, 9, 60), (5, 0, 5)])
def test_the_interval_is_the_test_turned_round(wins: int, losses: int, n: int) -> None:
    low, high = interval(wins, losses, n, 0.05)

    assert low <= (wins - losses) / n <= high
    assert p_value(wins, losses, n, low) <= 0.05 or low == -1.0
    assert p_value(wins, losses, n, min(low + 0.001, 0.999)) > 0.05
    assert interval(losses, wins, n, 0.05) == (-high, -low)


def test_more_cases_and_more_wins_are_more_evidence() -> None:
    assert p_value(12, 3, 100, 0.0) < p_value(10, 3, 100, 0.0)
    assert p_value(20, 6, 200, 0.0) < p_value(10, 3, 100, 0.0)
    assert p_value(0, 0, 100, -0.05) < 0.05 < p_value(0, 0, 40, -0.05)


@pytest.mark.parametrize("arguments", [(-1, 0, 5, 0.0), (3, 3, 5, 0.0), (0, 0, 0, 0.0), (1, 1, 5, 1.0)])
def test_impossible_counts_are_refused(arguments: tuple[int, int, int, float]) -> None:
    with pytest.raises(ValueError, match=r"impossible|outside"):
        p_value(*arguments)


@pytest.mark.parametrize(("wins", "losses"), [(10, 3), (0, 7), (5, 5), (0, 0)])
def test_mcnemar_is_a_coin_thrown_for_every_discordant_case(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0

    assert mcnemar(wins, losses) == pytest.approx(expected)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (13, 40), (40, 40)])
def test_shares_have_wilsons_interval(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(0.9, method="wilson")

    assert wilson(right / n, n, 0.1) == pytest.approx((expected.low, expected.high))
