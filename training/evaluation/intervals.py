"""How sure a mean over cases is, and how much of that is noise between repeats. Cases are the unit of sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training import shares

RESAMPLES = 2000
_SEED = 20231


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, and how it was made."""

    low: float
    high: float
    method: str
    """``wilson`` or ``bootstrap``."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What repeats of the same cases say. Variance components as in Miller, "Adding Error Bars to Evals", 2024."""

    agreement: float
    """Share of cases whose repeats all have the same value."""
    se_cases: float
    """Standard error of the mean for a new draw of cases, everything included: s(case means) / sqrt(cases)."""
    se_repeats: float
    """The part that asking the same cases again would show: sqrt(mean within-case variance / (repeats * cases))."""


def interval_of_mean(values: Sequence[float]) -> Interval:
    """Of the mean of one value in [0, 1] per case.

    Values of only 0 and 1 get Wilson's score interval, all others a percentile bootstrap over cases (Efron and
    Tibshirani, 1993).
    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values, no interval")
    if set(values) <= {0.0, 1.0}:
        return wilson(sum(values), len(values))
    data = np.asarray(values, dtype=float)
    generator = np.random.default_rng(_SEED)
    means = [data[generator.integers(0, len(data), len(data))].mean() for _ in range(RESAMPLES)]
    return percentile_interval(means)


def wilson(successes: float, trials: int) -> Interval:
    """Wilson's score interval of a share."""
    return Interval(*shares.wilson(successes / trials, trials), "wilson")


def percentile_interval(resampled: Sequence[float]) -> Interval:
    """The middle 95 % of a statistic's resampled values."""
    low, high = np.quantile(np.asarray(resampled, dtype=float), [0.025, 0.975])
    return Interval(float(low), float(high), "bootstrap")


def interval_of_macro_f1(observations: Sequence[Sequence[tuple[int, int]]], labels: int) -> Interval:
    """A percentile bootstrap over cases.

    Args:
        observations: for each case, wanted and predicted label of each of its repeats as indices; a prediction of
            ``labels`` itself is an answer outside the labels.
        labels: how many there are.
    """
    cells = [np.asarray([wanted * (labels + 1) + said for wanted, said in case]) for case in observations]
    starts = np.cumsum([0, *(len(case) for case in cells)])
    flat, case_of = np.concatenate(cells), np.repeat(np.arange(len(cells)), np.diff(starts))
    generator = np.random.default_rng(_SEED)
    values = []
    for _ in range(RESAMPLES // 2):
        weights = np.bincount(generator.integers(0, len(cells), len(cells)), minlength=len(cells))
        table = np.bincount(flat, weights=weights[case_of], minlength=labels * (labels + 1))
        values.append(_macro_f1(table.reshape(labels, labels + 1)))
    return percentile_interval(values)


def noise(repeated: Sequence[Sequence[float]]) -> Noise | None:
    """Of one metric: for each case the values of its repeats. None where no case has two."""
    several = [np.asarray(values, dtype=float) for values in repeated if len(values) > 1]
    if not several:
        return None
    means = np.asarray([np.mean(values) for values in repeated if values])
    within = sum(values.var(ddof=1) / len(values) for values in several)
    return Noise(
        agreement=float(np.mean([values.min() == values.max() for values in several])),
        se_cases=standard_error(means.tolist()),
        se_repeats=math.sqrt(within) / len(several),
    )


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values; 0 for a single one, which says nothing of it."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _macro_f1(table: "np.ndarray[tuple[int, int], np.dtype[Any]]") -> float:
    """Rows are wanted labels, columns said ones, the last of them outside the labels."""
    support, said = table.sum(axis=1), table[:, :-1].sum(axis=0)
    wanted = support > 0
    f1 = 2 * np.diag(table)[wanted] / (support + said)[wanted]
    return float(f1.mean())
