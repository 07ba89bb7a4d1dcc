"""Two versions answered the same cases, each scored in [0, 1]: the paired bootstrap of the mean difference.

The interval is Efron's BCa (JASA 82, 1987), which corrects for bias and skewness; its level is widened as Hesterberg
does ("What teachers should know about the bootstrap", The American Statistician 69, 2015), since a resample of n cases
is too narrow by ``sqrt((n - 1) / n)`` and knows nothing of the error of its own width. Pairs are resampled, so what two
answers to one case have in common cancels.

No resample holds what no case showed: losses that are total and so rare that ``n`` cases may all have missed them.
Every limit therefore also allows for a share of such cases that stays unseen with probability ``alpha``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.float64]

_CHUNK = 4_000_000
"""Draws at once: bounds the memory of a bootstrap."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The bootstrap distribution of a mean."""

    mean: float
    n: int
    means: FloatArray
    """The resamples' means, sorted."""
    bias: float
    acceleration: float

    def lower(self, alpha: float) -> float:
        """The limit that the true mean is below with probability ``alpha`` at most."""
        unseen = 1 - alpha ** (1 / self.n)
        return min(self._quantile(_widened(alpha, self.n)), self.mean - unseen * (1 + self.mean))

    def upper(self, alpha: float) -> float:
        """The limit that the true mean is above with probability ``alpha`` at most."""
        unseen = 1 - alpha ** (1 / self.n)
        return max(self._quantile(1 - _widened(alpha, self.n)), self.mean + unseen * (1 - self.mean))

    def p_value(self, threshold: float) -> float:
        """One-sided p-value of "the true mean is at most ``threshold``": the smallest alpha whose limit excludes it."""
        if self.mean <= threshold:
            return 1.0
        unseen = (1 - (self.mean - threshold) / (1 + self.mean)) ** self.n
        if self.means[0] == self.means[-1]:
            return unseen
        below = float(np.searchsorted(self.means, threshold, side="right"))
        share = np.clip(below, 0.5, len(self.means) - 0.5) / len(self.means)
        shifted = special.ndtri(share) - self.bias
        z = shifted / (1 + self.acceleration * shifted) - self.bias
        return max(unseen, float(special.stdtr(self.n - 1, z * np.sqrt((self.n - 1) / self.n))))

    def _quantile(self, level: float) -> float:
        shifted = self.bias + special.ndtri(level)
        corrected = special.ndtr(self.bias + shifted / (1 - self.acceleration * shifted))
        return float(np.quantile(self.means, corrected))


def bootstrap(values: FloatArray, *, resamples: int, seed: int) -> Bootstrap:
    """Resample ``values``, one a case, each in [-1, 1]. The same values, resamples and seed give the same answer.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("a bootstrap needs at least two cases")
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    parts = [
        values[rng.integers(0, n, (min(rows, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    means = np.sort(np.concatenate(parts))
    mean = float(values.mean())
    # A resample that equals the mean but for rounding is a tie.
    tie = 1e-12
    low, high = np.searchsorted(means, [mean - tie, mean + tie])
    middle = np.clip((low + high) / 2, 0.5, resamples - 0.5) / resamples
    centred = values - mean
    spread = float((centred**2).sum()) ** 1.5
    acceleration = float((centred**3).sum()) / (6 * spread) if spread > 0 else 0.0
    return Bootstrap(mean, n, means, float(special.ndtri(middle)), acceleration)


def _widened(alpha: float, n: int) -> float:
    """The level at which a normal quantile is as far out as Student's, narrowness corrected."""
    return float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, alpha)))
