"""How sure the model was of its answer, against how sure it usually is of this task's answers.

An unusually low mean log-probability, or an unusually high mean entropy, is a sign of prompts unlike the usual ones and
of made-up answers (Kadavath et al., "Language Models (Mostly) Know What They Know", 2022). What is usual differs
from task to task by far more than good answers from bad ones, hence the reference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from monitoring.observed import ObservedAnswer
from monitoring.quality.options import ConfidenceOptions
from monitoring.quality.types import Check, graded

_LOWEST = -20.0
"""Log-probabilities below count as this one: one impossible token must not decide a mean."""
_HIGHEST_ENTROPY = 20.0
_FINEST = 0.02
"""Spreads below, in nats, count as this one: a task of one-word answers may have next to none."""
_TO_SIGMA = 1.4826
"""From a median absolute deviation to the standard deviation of a normal distribution."""
_TAIL = 1.645
"""Standard deviations from its median to its 95th percentile."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What is usual for one measurement, in nats."""

    median: float
    scale: float

    def z(self, value: float) -> float:
        """By how many scales a value lies above the median."""
        return (value - self.median) / self.scale


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a task. Both grow with doubt: the mean log-probability is negated."""

    doubt: Spread | None
    entropy: Spread | None


def mean_logprob(answer: ObservedAnswer) -> float | None:
    """Over the answer's tokens, in nats, none below -20; None where the engine gave none."""
    return _mean(answer.logprobs, _LOWEST, 0.0)


def mean_entropy(answer: ObservedAnswer) -> float | None:
    """Over the answer's tokens, in nats; None where the engine gave none."""
    return _mean(answer.entropies, 0.0, _HIGHEST_ENTROPY)


def confidence(answer: ObservedAnswer, options: ConfidenceOptions, usual: Usual | None) -> Check | None:
    """Bad where the answer is far less sure than usual; None without a reference or without log-probabilities."""
    if usual is None:
        return None
    logprob, entropy = mean_logprob(answer), mean_entropy(answer)
    found = []
    if usual.doubt is not None and logprob is not None:
        found.append((usual.doubt.z(-logprob), "log-probability"))
    if usual.entropy is not None and entropy is not None:
        found.append((usual.entropy.z(entropy), "entropy"))
    if not found:
        return None
    z, what = max(found)
    badness = graded(z, *options.z)
    return Check("confidence", badness, f"mean {what} is {z:.1f} deviations off" if badness else "")


class ConfidenceReference:
    """Collects what is usual: the first answers that it is told of. Bounded; not thread-safe.

    Tell it of the stable version's answers alone, and begin anew when another version becomes stable: what a canary
    does must not become the measure of itself.

    Args:
        size: answers that it collects. Raises ValueError where it is less than ``fewest``.
        fewest: answers before anything counts as usual.
    """

    def __init__(self, size: int = 500, fewest: int = 100) -> None:
        if not 0 < fewest <= size:
            raise ValueError("a reference needs 0 < fewest <= size")
        self._size = size
        self._fewest = fewest
        self._doubts: list[float] = []
        self._entropies: list[float] = []
        self._usual: Usual | None = None

    @property
    def usual(self) -> Usual | None:
        """What is usual so far; None before there is enough."""
        if self._usual is None and max(len(self._doubts), len(self._entropies)) >= self._fewest:
            self._usual = Usual(self._spread(self._doubts), self._spread(self._entropies))
        return self._usual

    def add(self, answer: ObservedAnswer) -> None:
        """Take in one good answer, unless there are enough. One without log-probabilities changes nothing."""
        logprob, entropy = mean_logprob(answer), mean_entropy(answer)
        for value, values in ((None if logprob is None else -logprob, self._doubts), (entropy, self._entropies)):
            if value is not None and len(values) < self._size:
                values.append(value)
                self._usual = None

    def _spread(self, values: list[float]) -> Spread | None:
        if len(values) < self._fewest:
            return None
        middle = median(values)
        scale = _TO_SIGMA * median(abs(value - middle) for value in values)
        # Means of log-probabilities are skewed towards doubt; the deviation alone would call their tail unusual.
        tail = (quantiles(values, n=20)[-1] - middle) / _TAIL if len(values) > 1 else 0.0
        return Spread(middle, max(scale, tail, _FINEST))


def _mean(values: Sequence[float] | None, low: float, high: float) -> float | None:
    usable = [min(max(value, low), high) for value in values or () if not math.isnan(value)]
    return math.fsum(usable) / len(usable) if usable else None
