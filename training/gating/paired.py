"""Two versions answered the same cases, each right or wrong: is the difference of their shares large enough?

``wins`` are cases that the candidate alone got right, ``losses`` those that the current version alone got right, of
``n`` cases; the difference is ``(wins - losses) / n``. The test is exact and unconditional: outcomes are ordered by
Tango's score statistic (Statistics in Medicine 17, 1998), and the p-value is the largest probability, under the null
hypothesis, of an outcome at least as extreme (Hsueh, Liu and Chen, Biometrics 57, 2001; Sidik, 2003), searched within a
confidence interval of the nuisance parameter whose error is added (Berger and Boos, JASA 89, 1994). McNemar's exact
test conditions on the discordant cases, which says nothing of a margin, and is needlessly conservative at none; Tango's
own interval is approximate and promotes too often on a few dozen cases.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NUISANCE_ERROR = 1e-3
"""The error of the nuisance parameter's interval, which every p-value carries."""
_NUISANCE_POINTS = 48
_NEGLIGIBLE = 1e-10
"""Probability of outcomes that a sum leaves out, and adds as a whole."""
_PRECISION = 5e-5


def score_statistic(wins: Any, losses: Any, n: int, difference: float) -> FloatArray:
    """Tango's statistic against a true ``difference``: about standard normal, large where the candidate is better.

    Args:
        wins: counts, an array or one.
        losses: counts, of the same shape.
        n: cases.
        difference: candidate minus current, in (-1, 1).
    """
    wins, losses = np.asarray(wins, dtype=float), np.asarray(losses, dtype=float)
    variance = n * null_variance(wins / n, losses / n, difference)
    distance = wins - losses - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = distance / np.sqrt(variance)
    certain = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.where(variance > 0, found, certain)


def null_variance(win_share: Any, loss_share: Any, difference: float) -> FloatArray:
    """Variance of one case's difference at the most likely truth with this ``difference``, given the shares."""
    win_share, loss_share = np.asarray(win_share, dtype=float), np.asarray(loss_share, dtype=float)
    middle = -win_share - loss_share + (2 - win_share + loss_share) * difference
    last = -loss_share * difference * (1 - difference)
    loss = (np.sqrt(np.maximum(middle**2 - 8 * last, 0)) - middle) / 4
    found: FloatArray = np.maximum(2 * loss + difference - difference**2, 0.0)
    return found


def p_value(wins: int, losses: int, n: int, difference: float) -> float:
    """Exact one-sided p-value of "the true difference is at most ``difference``".

    Raises:
        ValueError: impossible counts, or a difference outside (-1, 1).
    """
    if not (n > 0 and wins >= 0 and losses >= 0 and wins + losses <= n):
        raise ValueError(f"{wins} wins and {losses} losses of {n} cases are impossible")
    if not -1 < difference < 1:
        raise ValueError(f"a difference of {difference} is outside (-1, 1)")
    if (wins - losses) / n <= difference:
        return 1.0
    nuisance = _nuisance(losses, n, difference)
    counts = _plausible(n, nuisance)
    fewest = _fewest_wins(counts, n, difference, float(score_statistic(wins, losses, n, difference)))
    tail = _tail(counts, fewest, n, nuisance, difference)
    return min(1.0, float(tail.max()) + _NUISANCE_ERROR + _NEGLIGIBLE)


def _nuisance(losses: int, n: int, difference: float) -> FloatArray:
    """Probabilities of a loss that are not implausible, where the true difference is ``difference``."""
    error = _NUISANCE_ERROR / 2
    low = special.betaincinv(losses, n - losses + 1, error) if losses else 0.0
    high = special.betaincinv(losses + 1, n - losses, 1 - error) if losses < n else 1.0
    least, most = max(0.0, -difference), (1 - difference) / 2
    low, high = min(max(low, least), most), min(max(high, least), most)
    found: FloatArray = np.linspace(low, high, _NUISANCE_POINTS)
    return found


def _plausible(n: int, nuisance: FloatArray) -> IntArray:
    """Counts of losses that are not negligible under any of the probabilities."""
    low = special.bdtrik(_NEGLIGIBLE / 2, n, nuisance[0]) if 0 < nuisance[0] < 1 else n * nuisance[0]
    high = special.bdtrik(1 - _NEGLIGIBLE / 2, n, nuisance[-1]) if 0 < nuisance[-1] < 1 else n * nuisance[-1]
    first = max(0, math.floor(low) - 1) if math.isfinite(low) else 0
    last = min(n, math.ceil(high) + 1) if math.isfinite(high) else n
    return np.arange(first, last + 1)


def _fewest_wins(losses: IntArray, n: int, difference: float, statistic: float) -> IntArray:
    """For each count of losses, the fewest wins that are as extreme as ``statistic``; ``n - losses + 1`` where none is.

    The statistic grows with wins (Hsueh et al.), so halving finds them.
    """
    low, high = np.zeros_like(losses), n - losses + 1
    bound = statistic - 1e-9 * max(1.0, abs(statistic))
    while (low < high).any():
        middle = (low + high) // 2
        extreme = score_statistic(np.minimum(middle, n - losses), losses, n, difference) >= bound
        extreme |= middle > n - losses
        high = np.where(extreme, middle, high)
        low = np.where(extreme, low, np.minimum(middle + 1, high))
    return low


def _tail(losses: IntArray, fewest: IntArray, n: int, nuisance: FloatArray, difference: float) -> FloatArray:
    """The probability of at least the fewest wins, summed over the losses, for each nuisance probability."""
    loss = nuisance[:, None]
    rest = n - losses
    win = np.clip((loss + difference) / np.maximum(1 - loss, _NEGLIGIBLE), 0.0, 1.0)
    inside = (fewest > 0) & (fewest <= rest)
    chance = special.betainc(np.where(inside, fewest, 1), np.where(inside, rest - fewest + 1, 1), win)
    chance = np.where(inside, chance, np.where(fewest <= 0, 1.0, 0.0))
    log_weight = (
        special.gammaln(n + 1) - special.gammaln(losses + 1) - special.gammaln(rest + 1)
        + special.xlogy(losses, loss) + special.xlog1py(rest, -loss)
    )  # fmt: skip
    found: FloatArray = (np.exp(log_weight) * chance).sum(axis=1)
    return found


def interval(wins: int, losses: int, n: int, alpha: float) -> tuple[float, float]:
    """Limits of the true difference, each wrong with probability ``alpha`` at most: the test above, turned round.

    They are rounded outwards by less than 0.0001.
    """
    return _lower(wins, losses, n, alpha), -_lower(losses, wins, n, alpha)


def _lower(wins: int, losses: int, n: int, alpha: float) -> float:
    low, high = -1.0, (wins - losses) / n
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(wins, losses, n, middle) <= alpha else (low, middle)
    return low


def mcnemar(wins: int, losses: int) -> float:
    """McNemar's exact two-sided p-value of "no difference": a fair coin decided every discordant case."""
    discordant, fewer = wins + losses, min(wins, losses)
    return min(1.0, 2 * float(special.bdtr(fewer, discordant, 0.5))) if discordant else 1.0
