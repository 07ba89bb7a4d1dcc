"""Whether numbers or categories have changed."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from monitoring.drift.likelihood import xlogx
from monitoring.drift.types import FloatArray, Labels

OTHER = "other"
_CATEGORIES = 64
"""The most that are told apart; the rarest beyond them are one."""


class KolmogorovSmirnov:
    """Statistic: the largest difference between the two windows' distribution functions.

    By permutation it is exact for whole numbers too, of which many are equal.

    Args:
        values: of the pooled rows, shape ``(rows,)``.
    """

    def __init__(self, values: FloatArray) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def __call__(self, labels: Labels) -> FloatArray:
        """As :class:`monitoring.drift.permutation.Statistic`."""
        live = labels.sum(axis=1, keepdims=True)
        below = np.cumsum(labels[:, self._order], axis=1)[:, self._ends]
        gaps = below / live - (self._ends + 1 - below) / (labels.shape[1] - live)
        found: FloatArray = np.abs(gaps).max(axis=1)
        return found


class CategoryFrequencies:
    """Statistic: G of the table of windows by categories, twice its log likelihood ratio.

    Args:
        categories: of the pooled rows.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        counted = Counter(categories)
        ranked = sorted(counted, key=lambda name: (-counted[name], name))
        kept = ranked if len(ranked) <= _CATEGORIES else ranked[: _CATEGORIES - 1]
        columns = {name: column for column, name in enumerate(kept)}
        self.names = (*kept, OTHER) if len(kept) < len(ranked) else tuple(kept)
        places = [columns.get(name, len(kept)) for name in categories]
        self._indicators: FloatArray = np.zeros((len(places), len(self.names)))
        self._indicators[np.arange(len(places)), places] = 1.0
        self._totals: FloatArray = self._indicators.sum(axis=0)

    def __call__(self, labels: Labels) -> FloatArray:
        """As :class:`monitoring.drift.permutation.Statistic`."""
        live = labels.astype(np.float64) @ self._indicators
        apart = xlogx(live) + xlogx(self._totals - live) - xlogx(self._totals)
        n, rows = labels.sum(axis=1), labels.shape[1]
        found: FloatArray = 2 * (apart.sum(axis=1) - xlogx(n) - xlogx(rows - n) + xlogx(rows))
        return found

    def shares(self, live: Labels) -> tuple[FloatArray, FloatArray]:
        """Of each of ``names`` in the reference and in the live window, for labels of shape ``(rows,)``."""
        counts = live.astype(np.float64) @ self._indicators
        return (self._totals - counts) / int((~live).sum()), counts / int(live.sum())
