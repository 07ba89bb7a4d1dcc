"""The arithmetic behind every report: medians, percentiles and paired ratios. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie, interpolated linearly between neighbours.

    Raises:
        ValueError: there are no values, or ``share`` is outside [0, 1].
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is outside [0, 1]")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99 in milliseconds of durations in seconds; empty where there are none."""
    if not seconds:
        return {}
    return {f"p{share}": round(percentile(seconds, share / 100) * 1000, 4) for share in (50, 90, 99)}


@dataclass(frozen=True, slots=True)
class Paired:
    """One number per round, from values that were measured next to each other in that round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round: one disturbed round does not move it."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the median of ever more rounds would lie, with a confidence of at least 95 %; None below six rounds.

        Two order statistics, whose confidence follows from the binomial distribution with p = 1/2, whatever the
        values are distributed like (Conover, Practical Nonparametric Statistics, section 3.2).
        """
        count = len(self.values)
        outside, below = 0.0, -1
        while (outside := outside + 2 * math.comb(count, below + 1) / 2**count) <= 0.05:
            below += 1
        ordered = sorted(self.values)
        return (ordered[below], ordered[count - 1 - below]) if below >= 0 else None

    def report(self, digits: int = 4) -> dict[str, Any]:
        """The median with its interval, the lowest and highest round and the rounds themselves."""
        return {
            "median": round(self.median, digits),
            "median_interval_95": [round(value, digits) for value in self.interval] if self.interval else None,
            "low": round(min(self.values), digits),
            "high": round(max(self.values), digits),
            "rounds": [round(value, digits) for value in self.values],
        }


def ratios(values: Sequence[float], references: Sequence[float]) -> Paired:
    """``value / reference`` round by round.

    Raises:
        ValueError: the two are of different lengths, or empty.
    """
    return Paired(tuple(value / reference for value, reference in _pairs(values, references)))


def differences(values: Sequence[float], references: Sequence[float]) -> Paired:
    """``value - reference`` round by round.

    Raises:
        ValueError: the two are of different lengths, or empty.
    """
    return Paired(tuple(value - reference for value, reference in _pairs(values, references)))


def _pairs(values: Sequence[float], references: Sequence[float]) -> list[tuple[float, float]]:
    if len(values) != len(references) or not values:
        raise ValueError(f"{len(values)} values cannot be paired with {len(references)} references")
    return list(zip(values, references, strict=True))
