"""Two-sample tests by permutation: exact at any sizes, for any statistic, if unchanged rows are exchangeable.

The pooled rows are fixed and only their labels change places, so that whatever does not depend on the labels (a graph
of neighbours, a bandwidth, an order) is made once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from monitoring.drift.types import FloatArray, Labels

Beat = Callable[[], None]

_BATCH = 50
_ENOUGH = 10
"""Permutations at least as extreme as the truth after which no more are drawn."""
_PER_ALPHA = 5
_FEWEST = 399
_ROUNDING = 1e-6
"""Of a statistic, relative: some are computed in single precision, and differently for one permutation and for many."""
_LEAST_ROUNDING = 1e-9


class Statistic(Protocol):
    """How different the live rows are from the others: the larger, the more."""

    def __call__(self, labels: Labels, /) -> FloatArray:
        """For labels of shape ``(permutations, rows)``, shape ``(permutations,)``."""
        ...


@dataclass(frozen=True, slots=True)
class Permuted:
    """The outcome of a test."""

    statistic: float
    p_value: float
    permutations: int
    """How many were drawn."""


def nothing() -> None:
    """Nobody waits."""


def permutations_for(alpha: float) -> int:
    """How many permutations a test at this level may draw: the p-value can come to a fifth of it."""
    return max(_FEWEST, math.ceil(_PER_ALPHA / alpha) - 1)


def permutation_test(
    statistic: Statistic, labels: Labels, most: int, rng: np.random.Generator, beat: Beat = nothing
) -> Permuted:
    """Whether the labels matter to the statistic.

    Sequential (Besag and Clifford, Biometrika 78, 1991): it ends as soon as it is plain that nothing is to be found,
    and the p-value is exact all the same. Where something is found it draws all of them.

    Args:
        labels: which rows are live, shape ``(rows,)``, in an order that the statistic knows.
        most: permutations to draw at most.
        beat: called every few permutations, for somebody who must be told that this goes on; may raise.
    """
    observed = float(statistic(labels[None, :])[0])
    # The same value may come out differently by rounding, and must count as equal.
    reached = observed - max(_LEAST_ROUNDING, _ROUNDING * abs(observed))
    exceeded = drawn = 0
    while drawn < most:
        beat()
        batch = min(_BATCH, most - drawn)
        values = statistic(rng.permuted(np.tile(labels, (batch, 1)), axis=1))
        hits = np.flatnonzero(values >= reached)
        if exceeded + len(hits) >= _ENOUGH:
            drawn += int(hits[_ENOUGH - exceeded - 1]) + 1
            return Permuted(observed, _ENOUGH / drawn, drawn)
        exceeded += len(hits)
        drawn += batch
    return Permuted(observed, (exceeded + 1) / (most + 1), most)
