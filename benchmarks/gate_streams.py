"""Many streams through the sequential test at once: row by row the same arithmetic, a hundred times as fast."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.gating import sequential

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Column:
    """One block of every stream, as the outcomes of one arm."""

    n: Any
    bad: Any

    @property
    def total(self) -> Any:
        """The bad ones."""
        return self.bad

    def growth(self, stake: Any) -> Any:
        """As of one stream's counts."""
        return self.bad * np.log1p(stake)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that the test cuts the streams into: arrays of streams by blocks, 0 where a stream has no more."""

    n: tuple[IntArray, IntArray]
    """Requests of the candidate and of the current version."""
    bad: tuple[IntArray, IntArray]
    end: IntArray
    """The request after which each is complete, from 1."""


def cut(to_candidate: BoolArray, bad: BoolArray) -> Blocks:
    """Cut streams (streams by requests) as :class:`training.gating.sequential.RateTest` does, request by request."""
    streams, horizon = bad.shape
    most = horizon // (2 * sequential.FEWEST) + 1
    n, k, end = (np.zeros(shape, np.int64) for shape in ((2, streams, most), (2, streams, most), (streams, most)))
    rows, block = np.arange(streams), np.zeros(streams, np.int64)
    for place in range(horizon):
        arm = np.where(to_candidate[:, place], 0, 1)
        n[arm, rows, block] += 1
        k[arm, rows, block] += bad[:, place]
        whole = n[:, rows, block].min(axis=0) >= sequential.FEWEST
        end[rows[whole], block[whole]] = place + 1
        block += whole
    return Blocks((n[0], n[1]), (k[0], k[1]), end)


def first_claims(blocks: Blocks, gap: float, alpha: float, *, candidate_first: bool) -> IntArray:
    """After how many requests each stream shows that the first arm's rate exceeds the second's by more than ``gap``.

    -1 where it never does.
    """
    streams, most = blocks.end.shape
    test = sequential.OneSided(np.full(streams, gap))
    order = (0, 1) if candidate_first else (1, 0)
    found = np.full(streams, -1)
    past = np.zeros((2, 2, streams))
    for index in range(most):
        there = blocks.end[:, index] > 0
        if not there.any():
            break
        # A stream that has ended is fed empty blocks, and not looked at any more.
        n = [np.where(there, blocks.n[arm][:, index], 1)[:, None] for arm in order]
        bad = [np.where(there, blocks.bad[arm][:, index], 0)[:, None] for arm in order]
        before: Any = [sequential.Tally(past[0, arm], past[1, arm]) for arm in (0, 1)]
        test.settle(_Column(n[0], bad[0]), _Column(n[1], bad[1]), (before[0], before[1]))
        claims = there & (found < 0) & (test.log_best >= -math.log(alpha))
        found[claims] = blocks.end[claims, index]
        for arm in (0, 1):
            past[0, arm] += bad[arm][:, 0]
            past[1, arm] += n[arm][:, 0]
    return found
