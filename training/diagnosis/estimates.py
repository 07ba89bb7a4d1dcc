"""Numbers with their intervals, all of 95 %."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.shares import wilson

_RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and where it would lie with more cases."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def to_json(self) -> dict[str, float]:
        """Value and interval, rounded."""
        return {"value": round(self.value, 5), "low": round(self.low, 5), "high": round(self.high, 5)}


def share(count: int, total: int) -> Estimate:
    """``count`` of ``total`` with Wilson's score interval.

    Of nothing, the share is unknown: 0, between 0 and 1.
    """
    if total == 0:
        return Estimate(0.0, 0.0, 1.0)
    observed = count / total
    return Estimate(observed, *wilson(observed, total))


def mean(values: Sequence[float]) -> Estimate:
    """The mean with the percentile bootstrap's interval (Efron & Tibshirani, 1993); the same values give the same one.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("a mean needs values")
    means = _resampled(values)
    return Estimate(float(np.mean(values)), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975)))


def chance_of_at_least(values: Sequence[float], least: float) -> float:
    """The share of bootstrap resamples of ``values`` whose mean is ``least`` or more; 0 of no values."""
    if not values:
        return 0.0
    return float(np.mean(_resampled(values) >= least - 1e-12))


def _resampled(values: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    given = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    means = np.empty(_RESAMPLES)
    for place in range(_RESAMPLES):
        means[place] = given[rng.integers(0, len(given), len(given))].mean()
    return means
