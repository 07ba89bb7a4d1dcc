"""What a check says."""

from dataclasses import dataclass
from typing import Final

BAD: Final = 0.5
"""From this badness on, an answer counts as bad by a check."""

NAMES: Final = (
    "parse",
    "schema",
    "refusal",
    "truncated",
    "repetition",
    "empty",
    "language",
    "tool_call",
    "citation",
    "grounded",
    "confidence",
    "self_consistency",
    "judge",
    "feedback",
)
"""Of all checks; labels of metrics and names of parts."""


@dataclass(frozen=True, slots=True)
class Check:
    """The verdict of one check on one answer. Raises ValueError for a name or a badness that there is not."""

    name: str
    badness: float
    """In [0, 1], less is better."""
    detail: str = ""
    """Why it is not 0. Never a word of prompt or answer."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"no check is named {self.name!r}")
        if not 0 <= self.badness <= 1:
            raise ValueError(f"badness must be in [0, 1], not {self.badness}")

    @property
    def bad(self) -> bool:
        """Whether the answer counts as bad."""
        return self.badness >= BAD


def graded(value: float, good: float, bad: float) -> float:
    """Badness of a measurement: 0 up to ``good``, 1 from ``bad`` on, in proportion between; either may be the larger.

    Exactly in the middle it is 0.5, from where on it counts as bad.
    """
    return min(max((value - good) / (bad - good), 0.0), 1.0)
