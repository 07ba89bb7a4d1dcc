"""Two versions of one task by their scores: how a canary does beside the stable version."""

import math
from dataclasses import dataclass

from monitoring.quality.score import Part, QualityScore


@dataclass(frozen=True, slots=True)
class Difference:
    """The first version's score minus the second's, over the parts that both have."""

    value: float
    low: float
    high: float
    """Limits of its interval."""
    parts: dict[str, tuple[Part, Part]]
    """What was compared, the first version's part first."""

    @property
    def worse(self) -> bool:
        """Whether the first version is worse by more than chance explains, looked at once."""
        return self.high < 0

    def worst(self) -> str | None:
        """The part that costs the first version most beside the second; None where none does."""
        costs = {name: first.weight * (first.badness - second.badness) for name, (first, second) in self.parts.items()}
        name = max(costs, key=costs.__getitem__, default=None)
        return name if name is not None and costs[name] > 0 else None


def compare(first: QualityScore, second: QualityScore) -> Difference | None:
    """None before both have a score, and where no check has judged both.

    Only parts that both have count: a shadow without feedback must not look better for it. Limits by square-and-add
    (Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10). Both should
    have been asked the same kind of requests; a canary by share of callers has.
    """
    if first.value() is None or second.value() is None:
        return None
    ours, theirs = first.parts(), second.parts()
    shared = {name: (ours[name], theirs[name]) for name in ours if name in theirs}
    if not shared:
        return None
    value, low, high = first.over(shared)
    other, other_low, other_high = second.over(shared)
    difference = value - other
    down = math.hypot(value - low, other_high - other)
    up = math.hypot(high - value, other - other_low)
    return Difference(difference, difference - down, difference + up, shared)
