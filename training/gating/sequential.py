"""Is one version worse than the other? Look after every request, under any split of the traffic. Numpy alone.

A test is a bet against its null hypothesis: wealth of 20 is as good as p = 0.05, at whichever moment one looks, because
a process that cannot grow in expectation under the null exceeds ``1 / alpha`` at any time with probability ``alpha`` at
most (Ville's inequality). The bet is that of Turner, Ly and Gruenwald, "Generic E-variables for exact sequential
k-sample tests that allow for optional stopping" (arXiv 2106.02693), with the margins of Turner and Gruenwald, "Exact
anytime-valid confidence intervals for contingency tables and beyond" (arXiv 2203.09785).

**One bet.** A block holds outcomes ``y`` in [0, 1] of a first and a second arm, with means ``a`` and ``b``. The null
says ``a <= b + gap``. Every outcome of the first multiplies the wealth by ``1 + up * y``, every one of the second by
``1 - down * y``, and the block costs the largest expectation that the null allows, ``(1 + up * a) ** n_first * (1 -
down * b) ** n_second``. Its logarithm grows with ``a``, falls with ``b`` and is concave, so the largest lies on ``a = b
+ gap``, where its derivative is zero in closed form. The wealth after the block is therefore at most 1 in expectation,
exactly, for every number of outcomes and whatever the stakes are.

**The stakes** decide power alone. The best for a given alternative make the price largest at the point of the null that
is nearest to it (the reverse information projection); that point is estimated from the blocks before, and the size of
the effect is mixed over a grid of odds ratios, so that neither has to be known.

**Order and drift.** A block's wealth depends on its totals alone, so the order inside an increment is not needed: an
increment is one block, or a part of one. Blocks are priced one by one, so rates may change from block to block, by the
hour or with the traffic's share, for both arms together: comparing totals would call that a difference. Two things are
asked for: which arm a request goes to is not decided by outcomes of the same block, and the share does not change
within an increment.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_TILTS: FloatArray = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
"""Logarithms of the odds ratios that are betted on. A true one of less than half the smallest may never be found."""
_LOG_WEIGHTS: FloatArray = np.log(np.array([1, 1, 2, 2, 3, 3, 3]) / 15)
"""More of the wealth goes to the large ones: what breaks much should be found soonest."""
_STEPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)
"""The limits that an interval can have, on both sides of 0."""
_GAPS: FloatArray = np.array([*(-step for step in reversed(_STEPS)), 0.0, *_STEPS])
FEWEST = 3
"""Outcomes of each arm in a block: a block of 1 and 1 wastes much of what an uneven split could tell."""
_STEEPEST = 0.98
_PRIOR_RATE = 0.05
_PRIOR_WEIGHT = 1.0
_EDGE = 1e-4
_KEPT = 256
"""Values of one arm that a :class:`MeanTest` keeps while it waits for the other arm."""


class Outcomes(Protocol):
    """What one arm did within a block."""

    @property
    def n(self) -> int:
        """How many outcomes."""
        ...

    @property
    def total(self) -> float:
        """Their sum."""
        ...

    def growth(self, stake: FloatArray) -> FloatArray:
        """The sum of ``log(1 + stake * outcome)``, for every stake."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Outcomes that are 0 or 1."""

    bad: int = 0
    n: int = 0

    @property
    def total(self) -> float:
        """The outcomes that are 1."""
        return float(self.bad)

    def growth(self, stake: FloatArray) -> FloatArray:
        """As :meth:`Outcomes.growth`."""
        return self.bad * np.log1p(stake)


@dataclass(frozen=True, slots=True)
class Values:
    """Outcomes anywhere in [0, 1]."""

    values: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """How many."""
        return len(self.values)

    @property
    def total(self) -> float:
        """Their sum."""
        return math.fsum(self.values)

    def growth(self, stake: FloatArray) -> FloatArray:
        """As :meth:`Outcomes.growth`."""
        found: FloatArray = np.log1p(stake[..., None] * np.asarray(self.values)).sum(axis=-1)
        return found


@dataclass(slots=True)
class Tally:
    """All outcomes of one arm so far."""

    total: float = 0.0
    """The bad ones, or the sum of the values."""
    n: int = 0

    @property
    def rate(self) -> float:
        """The mean; 0 where there is none."""
        return self.total / self.n if self.n else 0.0

    def add(self, outcomes: Outcomes) -> None:
        """Count them in."""
        self.total += outcomes.total
        self.n += outcomes.n


class OneSided:
    """E-processes against "the first arm's mean is at most ``gap`` above the second's", for each of several gaps."""

    def __init__(self, gaps: FloatArray) -> None:
        self.gaps = gaps
        # The second arm's mean on the null's edge, where both means are in [0, 1].
        self._low = np.maximum(0.0, -gaps)
        self._high = np.minimum(1.0, 1.0 - gaps)
        self._log_wealth: FloatArray = np.zeros((len(gaps), len(_TILTS)))
        self.log_best: FloatArray = np.zeros(len(gaps))
        """The largest logarithm of wealth that each null has ever let grow."""

    def settle(self, first: Outcomes, second: Outcomes, before: tuple[Tally, Tally]) -> None:
        """Take in one block; ``before`` are the outcomes of the blocks before it."""
        up, down = self._stakes(first.n, second.n, *before)
        gap = self.gaps[:, None]
        dearest = (first.n * up - second.n * down * (1 + up * gap)) / (up * down * (first.n + second.n))
        dearest = np.clip(dearest, self._low[:, None], self._high[:, None])
        price = first.n * np.log1p(up * (dearest + gap)) + second.n * np.log1p(-down * dearest)
        self._log_wealth += first.growth(up) + second.growth(-down) - price
        self.log_best = np.maximum(self.log_best, _log_sum(self._log_wealth + _LOG_WEIGHTS))

    def _stakes(self, n_first: int, n_second: int, first: Tally, second: Tally) -> tuple[FloatArray, FloatArray]:
        """What is betted on each outcome of either arm, by gap and tilt."""
        pooled = first.total + second.total - self.gaps * first.n + _PRIOR_RATE * _PRIOR_WEIGHT
        centre = pooled / (first.n + second.n + _PRIOR_WEIGHT)
        lower = np.clip(centre, self._low + _EDGE, self._high - _EDGE)[:, None]
        upper = lower + self.gaps[:, None]
        share = n_first / (n_first + n_second)
        # Stakes whose price is largest at that point have slopes up / (1 + up * upper) = slope / share and
        # down / (1 - down * lower) = slope / (1 - share); at the steepest slope an outcome could cost everything.
        steepest = _STEEPEST * np.minimum((1 - share) / (1 - lower), share / upper)
        up = np.expm1(_TILTS * (1 - share))
        slope = share * up / (1 + up * upper)
        slope = -steepest * np.expm1(-slope / steepest)
        first_slope, second_slope = slope / share, slope / (1 - share)
        return first_slope / (1 - first_slope * upper), second_slope / (1 + second_slope * lower)

    def log_evidence(self, gap: float) -> float:
        """The best logarithm of wealth against the null with this gap, which must be one of them."""
        return float(self.log_best[int(np.argmin(np.abs(self.gaps - gap)))])

    def rejected_up_to(self, log_wealth: float) -> float:
        """The largest gap for which it and all smaller ones are rejected; -1 where none is.

        Asking for all smaller ones makes it an error only where the smallest gap that is true was rejected.
        """
        rejected = self.log_best >= log_wealth
        count = len(rejected) if rejected.all() else int(np.argmin(rejected))
        return float(self.gaps[count - 1]) if count else -1.0

    def to_json(self) -> dict[str, Any]:
        """The state."""
        return {"wealth": np.round(self._log_wealth, 6).tolist(), "best": np.round(self.log_best, 6).tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state. Raises ValueError where it has another shape."""
        wealth = np.array(state["wealth"], dtype=np.float64)
        best = np.array(state["best"], dtype=np.float64)
        if wealth.shape != self._log_wealth.shape or best.shape != self.log_best.shape:
            raise ValueError("the state was written by another version of this test")
        self._log_wealth, self.log_best = wealth, best


O = TypeVar("O", bound=Outcomes)  # noqa: E741


class _Comparison(ABC, Generic[O]):
    """What the tests of rates and of means share."""

    def __init__(self, alpha: float, margin: float, *, tolerated: float = 0.0) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        if not 0 <= margin < 1 or not 0 <= tolerated < 1:
            raise ValueError("margin and tolerated must be in [0, 1)")
        self.alpha = alpha
        self.margin = margin
        self.tolerated = tolerated
        self.candidate = Tally()
        """The candidate's outcomes, those of an unfinished block included."""
        self.current = Tally()
        self._settled = (Tally(), Tally())
        self._waiting = (self._outcomes([]), self._outcomes([]))
        self._above = OneSided(np.union1d(_GAPS, [tolerated]))
        # Seen from the other side: the current version's mean is at most -gap above the candidate's.
        self._below = OneSided(np.union1d(_GAPS, [-margin]))

    @property
    def worse(self) -> bool:
        """Whether it was ever shown that the candidate's rate exceeds the current's by more than ``tolerated``."""
        return self._above.log_evidence(self.tolerated) >= -math.log(self.alpha)

    @property
    def not_worse(self) -> bool:
        """Whether it was ever shown that the candidate's rate exceeds the current's by less than ``margin``."""
        return self._below.log_evidence(-self.margin) >= -math.log(self.alpha)

    @property
    def p_value(self) -> float:
        """Always-valid p-value of "not worse by more than ``tolerated``": small where the candidate is worse."""
        return math.exp(-max(self._above.log_evidence(self.tolerated), 0.0))

    @property
    def p_not_worse(self) -> float:
        """Always-valid p-value of "worse by ``margin`` or more": small where the candidate is good enough."""
        return math.exp(-max(self._below.log_evidence(-self.margin), 0.0))

    def interval(self) -> tuple[float, float]:
        """Limits of the candidate's rate minus the current's that hold at all times with probability 1 - ``alpha``.

        They lie on a grid, rounded outwards. Where the difference has itself changed in time, its range.
        """
        enough = math.log(2 / self.alpha)
        limits = self._above.rejected_up_to(enough), -self._below.rejected_up_to(enough)
        return min(limits), max(limits)

    def discard(self) -> None:
        """Forget the block that is not settled, because what comes now cannot be compared with it.

        When to call it must not depend on the outcomes in that block; then the test stays valid.
        """
        self.candidate, self.current = (Tally(tally.total, tally.n) for tally in self._settled)
        self._waiting = (self._outcomes([]), self._outcomes([]))

    def to_json(self) -> dict[str, Any]:
        """The whole state, some kilobytes of JSON."""
        settled = [[tally.total, tally.n] for tally in self._settled]
        return {
            "alpha": self.alpha,
            "margin": self.margin,
            "tolerated": self.tolerated,
            "settled": settled,
            "waiting": [self._state(outcomes) for outcomes in self._waiting],
            "above": self._above.to_json(),
            "below": self._below.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """A test that goes on where ``to_json`` was called. Raises ValueError, KeyError where it is no such state."""
        test = cls(state["alpha"], state["margin"], tolerated=state["tolerated"])
        first, second = (Tally(float(total), int(n)) for total, n in state["settled"])
        test._settled = (first, second)
        candidate, current = (test._outcomes(one) for one in state["waiting"])
        test._waiting = (candidate, current)
        test.candidate, test.current = Tally(first.total, first.n), Tally(second.total, second.n)
        test.candidate.add(candidate)
        test.current.add(current)
        test._above.restore(state["above"])
        test._below.restore(state["below"])
        return test

    def _take(self, candidate: O, current: O) -> None:
        """Count an increment in, and settle the block where it is large enough."""
        self.candidate.add(candidate)
        self.current.add(current)
        first, second = self._waiting
        self._waiting = (self._joined(first, candidate), self._joined(second, current))
        first, second = self._waiting
        if min(first.n, second.n) < FEWEST:
            return
        before = self._settled
        self._above.settle(first, second, before)
        self._below.settle(second, first, (before[1], before[0]))
        before[0].add(first)
        before[1].add(second)
        self._waiting = (self._outcomes([]), self._outcomes([]))

    @abstractmethod
    def _outcomes(self, state: list[Any]) -> O: ...

    @abstractmethod
    def _state(self, outcomes: O) -> list[Any]: ...

    @abstractmethod
    def _joined(self, first: O, second: O) -> O: ...


class RateTest(_Comparison[Counts]):
    """Compares the shares of bad outcomes of a candidate and the current version, valid under continuous peeking.

    Args:
        alpha: probability of ever calling a candidate ``worse`` that is not; likewise of ever calling one ``not_worse``
            that is.
        margin: how much worse is not good enough, as a difference of rates.
        tolerated: how much worse is not bad enough to be called ``worse``. With the default, every true regression is
            found in the end, also one that is smaller than ``margin``; such a candidate can be found both worse and
            not worse by ``margin``.

    Raises:
        ValueError: a value is out of its range.
    """

    def update(self, candidate_bad: int, candidate_n: int, current_bad: int, current_n: int) -> None:
        """Take in what was seen since the last call, in any order. Raises ValueError for impossible counts."""
        if not 0 <= candidate_bad <= candidate_n or not 0 <= current_bad <= current_n:
            raise ValueError("counts must satisfy 0 <= bad <= n")
        self._take(Counts(candidate_bad, candidate_n), Counts(current_bad, current_n))

    def _outcomes(self, state: list[Any]) -> Counts:
        return Counts(*(int(count) for count in state))

    def _state(self, outcomes: Counts) -> list[Any]:
        return [outcomes.bad, outcomes.n]

    def _joined(self, first: Counts, second: Counts) -> Counts:
        return Counts(first.bad + second.bad, first.n + second.n)


class MeanTest(_Comparison[Values]):
    """As :class:`RateTest`, for badness in [0, 1] (one minus a score): nothing but the range is assumed of it."""

    def update(self, candidate: Iterable[float], current: Iterable[float]) -> None:
        """Take in what was seen since the last call, in any order. Raises ValueError for one outside [0, 1]."""
        increments = Values(tuple(map(float, candidate))), Values(tuple(map(float, current)))
        if not all(0 <= value <= 1 for one in increments for value in one.values):
            raise ValueError("values must be in [0, 1]")
        self._take(*increments)

    def _outcomes(self, state: list[Any]) -> Values:
        return Values(tuple(map(float, state)))

    def _state(self, outcomes: Values) -> list[Any]:
        return list(outcomes.values)

    def _joined(self, first: Values, second: Values) -> Values:
        # An arm that waits for the other is kept short by forgetting the oldest, whatever their values.
        return Values((*first.values[-_KEPT:], *second.values))


def _log_sum(logs: FloatArray) -> FloatArray:
    """The logarithm of the sum of ``exp(logs)`` over the last axis."""
    largest = logs.max(axis=-1)
    found: FloatArray = largest + np.log(np.exp(logs - largest[..., None]).sum(axis=-1))
    return found
