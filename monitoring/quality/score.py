"""One score of a task's version from the checks of its answers, with its parts. Pure.

**A part** is the exponentially weighted mean badness by one check: a verdict counts half after ``half_life`` more of
the same check. What every answer is checked for therefore forgets by requests, and what is judged now and then forgets
nothing between two verdicts. With ``d = 2 ** (-1 / half_life)``, weights ``d ** age`` add up to about ``half_life / ln
2`` verdicts and carry the information of twice as many (Kish's effective sample size: the square of the sum of weights
over the sum of their squares). Its interval is Wilson's (1927) at that size. For graded badness it is rather too wide:
no variable in [0, 1] varies more than one of 0 and 1 with its mean.

**The score** is the product over parts of ``1 - weight * badness``: the share of its worth that an answer keeps where
failures strike independently. A failure costs the same however many other checks there are, so that 5 % of broken
answers lower it by 5 %, whether three parts are known or twelve; a part without verdicts costs nothing.

**Its interval**, and that of a difference of two scores, combine those of the parts by square-and-add (Zou and Donner,
"Construction of confidence limits about effect measures", 2008), on the logarithmic scale. They hold at one moment; who
looks after every request and stops when it suits needs a sequential test.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

from monitoring.quality.options import ScoreOptions
from monitoring.quality.types import NAMES, Check

_LEAST = 1e-9
"""In place of a factor of zero, whose logarithm there is not."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one check says of a version."""

    name: str
    badness: float
    """Weighted mean, in [0, 1]."""
    low: float
    high: float
    """Limits of the interval of ``badness``."""
    verdicts: int
    """How many there have been in all."""
    effective: float
    """How many independent verdicts ``badness`` is worth."""
    weight: float

    @property
    def good(self) -> float:
        """``1 - badness``."""
        return 1.0 - self.badness


@dataclass(slots=True)
class _Sums:
    """Of one check: weights, weighted badness, squared weights; verdicts are not weighted."""

    weight: float = 0.0
    bad: float = 0.0
    squared: float = 0.0
    verdicts: int = 0

    def add(self, badness: float, decay: float) -> None:
        self.weight = self.weight * decay + 1.0
        self.bad = self.bad * decay + badness
        self.squared = self.squared * decay * decay + 1.0
        self.verdicts += 1

    @property
    def possible(self) -> bool:
        """Whether verdicts can have made them, but for rounding."""
        return 0 <= self.bad <= self.weight * (1 + 1e-9) and 0 < self.squared <= self.weight < math.inf


class QualityScore:
    """Of one task and adapter version. Not thread-safe."""

    def __init__(self, options: ScoreOptions | None = None) -> None:
        self.options = options or ScoreOptions()
        self.requests = 0
        """Finished requests that it was told of."""
        self.updated_at = 0.0
        """When the latest of what it was told happened, in Unix seconds; 0 before."""
        self._decay = 2.0 ** (-1.0 / self.options.half_life)
        self._sums: dict[str, _Sums] = {}

    def add(self, checks: Iterable[Check], at: float) -> None:
        """Count one finished request, with the verdicts on its answer."""
        self.requests += 1
        self.add_later(checks, at)

    def add_later(self, checks: Iterable[Check], at: float) -> None:
        """Count verdicts that come after their request was counted: of a judge, a caller, further samples."""
        self.updated_at = max(self.updated_at, at)
        for each in checks:
            self._sums.setdefault(each.name, _Sums()).add(each.badness, self._decay)

    def value(self) -> float | None:
        """From 0 to 1, where 1 is good; None before there are enough requests."""
        return math.exp(self._log(NAMES)) if self._is_known() else None

    def interval(self) -> tuple[float, float] | None:
        """Confidence limits of :meth:`value`; None where there is none."""
        return self._limits(NAMES) if self._is_known() else None

    def parts(self) -> dict[str, Part]:
        """By name, in the order of the names; only those with a verdict. They exist before there is a score."""
        return {name: self._part(name, self._sums[name]) for name in NAMES if name in self._sums}

    def to_json(self) -> dict[str, Any]:
        """The state, less than a kilobyte."""
        return {
            "requests": self.requests,
            "updated_at": self.updated_at,
            "parts": {name: [one.weight, one.bad, one.squared, one.verdicts] for name, one in self._sums.items()},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], options: ScoreOptions | None = None) -> Self:
        """One that goes on where ``to_json`` was called; other options hold from then on.

        A part of a name that there is no more is left out. Raises ValueError where it is no such state.
        """
        score = cls(options)
        try:
            score.requests = int(state["requests"])
            score.updated_at = float(state["updated_at"])
            for name, (weight, bad, squared, verdicts) in state["parts"].items():
                if name in NAMES:
                    score._sums[name] = _Sums(float(weight), float(bad), float(squared), int(verdicts))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the state of a score: {error!r}") from error
        if score.requests < 0 or not all(sums.possible for sums in score._sums.values()):
            raise ValueError("not the state of a score: its sums cannot be")
        return score

    def over(self, names: Collection[str]) -> tuple[float, float, float]:
        """The score of some parts alone and its limits: what two versions are compared by where one has fewer."""
        return (math.exp(self._log(names)), *self._limits(names))

    def _is_known(self) -> bool:
        return self.requests >= self.options.fewest and bool(self._sums)

    def _part(self, name: str, sums: _Sums) -> Part:
        badness = min(sums.bad / sums.weight, 1.0)
        effective = sums.weight * sums.weight / sums.squared
        low, high = wilson(badness, effective, self.options.confidence)
        return Part(name, badness, low, high, sums.verdicts, effective, self.options.weight(name))

    def _factors(self, names: Collection[str]) -> list[tuple[float, float, float]]:
        """Of each part the logarithms of its factor and of that factor's limits."""
        parts = [part for part in self.parts().values() if part.name in names]
        return [
            (_log(1 - part.weight * part.badness), _log(1 - part.weight * part.high), _log(1 - part.weight * part.low))
            for part in parts
        ]

    def _log(self, names: Collection[str]) -> float:
        return math.fsum(middle for middle, _, _ in self._factors(names))

    def _limits(self, names: Collection[str]) -> tuple[float, float]:
        factors = self._factors(names)
        middle = math.fsum(each for each, _, _ in factors)
        down = math.sqrt(math.fsum((each - low) ** 2 for each, low, _ in factors))
        up = math.sqrt(math.fsum((high - each) ** 2 for each, _, high in factors))
        return math.exp(middle - down), math.exp(min(middle + up, 0.0))


def wilson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """The score interval of a share of ``n`` cases, which need not be a whole number."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the formula gives the end itself but for rounding.
    return 0.0 if share == 0 else max(middle - half, 0.0), 1.0 if share == 1 else min(middle + half, 1.0)


def _log(factor: float) -> float:
    return math.log(max(factor, _LEAST))
