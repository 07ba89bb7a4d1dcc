"""How many cases a gate needs, and what those that it had could show. Normal approximations."""

import math
from dataclasses import dataclass
from typing import Self

from scipy import special

from training.gating.paired import null_variance


@dataclass(frozen=True, slots=True)
class Truth:
    """What is assumed of the versions' difference, case by case."""

    difference: float
    """Candidate minus current, on average."""
    deviation: float
    """Standard deviation of one case's difference."""
    deviation_at: float
    """The same where the average is the threshold: what the test takes it for."""

    @classmethod
    def of_shares(cls, difference: float, discordant: float, threshold: float) -> Self:
        """Right or wrong: ``discordant`` is the share of cases that the two answer differently (Nam, Biometrics 53)."""
        discordant = max(discordant, abs(difference))
        win, loss = (discordant + difference) / 2, (discordant - difference) / 2
        return cls(
            difference,
            math.sqrt(max(discordant - difference**2, 0.0)),
            math.sqrt(float(null_variance(win, loss, threshold))),
        )

    @classmethod
    def of_scores(cls, difference: float, deviation: float) -> Self:
        """Graded: the deviation is the same wherever the average lies."""
        return cls(difference, deviation, deviation)


def power(truth: Truth, n: int, threshold: float, alpha: float) -> float:
    """The probability that ``n`` cases show a difference above ``threshold`` where ``truth`` holds."""
    distance = math.sqrt(n) * (truth.difference - threshold) - _z(alpha) * truth.deviation_at
    if truth.deviation <= 0:
        return 1.0 if distance > 0 else 0.0
    return float(special.ndtr(distance / truth.deviation))


def cases_needed(truth: Truth, threshold: float, alpha: float, wanted: float) -> int | None:
    """The cases that give the ``wanted`` power; None where the truth is at or below the threshold."""
    if truth.difference <= threshold:
        return None
    spread = _z(alpha) * truth.deviation_at + _z(1 - wanted) * truth.deviation
    return max(
        fewest_cases(truth.difference - threshold, alpha), math.ceil((spread / (truth.difference - threshold)) ** 2)
    )


def fewest_cases(distance: float, alpha: float) -> int:
    """The cases below which not even a run without a loss excludes that a share of ``distance`` is lost.

    With fewer, ``(1 - distance) ** n`` exceeds ``alpha``: all the losses may be among the cases that nobody asked.
    """
    return math.ceil(math.log(alpha) / math.log1p(-distance)) if 0 < distance < 1 else 2


def _z(alpha: float) -> float:
    return float(special.ndtri(1 - alpha))
