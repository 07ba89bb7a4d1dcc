"""Service level objectives of tasks: which requests count, and which of those are good. Pure.

The share of good requests among those that count is the service level indicator of Beyer et al., "The Site Reliability
Workbook" (2018), chapter 2.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from monitoring.spec import ANSWERED_OUTCOMES, FAILED_OUTCOMES

Slo = Literal["availability", "ttft", "duration"]

GOOD = "good"
BAD = "bad"
"""Values of the label ``result``."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of a task's requests that should be good.

    Raises:
        ValueError: ``target`` is not a share that leaves an error budget, or a latency has no threshold.
    """

    task: str
    slo: Slo
    target: float
    """In (0, 1). The error budget is what is left of 1."""
    threshold_s: float | None = None
    """The longest that a good request takes, in seconds; None for availability."""
    min_requests: int = 0
    """Requests in an alert's long window below which the alert keeps quiet."""

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"a target must lie between 0 and 1, not at {self.target:g}")
        if (self.threshold_s is None) != (self.slo == "availability"):
            raise ValueError(f"the objective {self.slo} of {self.task} and its threshold do not go together")

    @property
    def budget(self) -> float:
        """The share of requests that may be bad."""
        # 1 - 0.999 is 0.0010000000000000009, which nobody wants to read in a rule.
        return round(1 - self.target, 12)


class Ended(Protocol):
    """One generation that ended, as objectives look at it."""

    @property
    def outcome(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def first_token_s(self) -> float | None: ...


def is_good(objective: Objective, request: Ended) -> bool | None:
    """Whether ``request`` is good; None where it does not count.

    What the caller did, a faulty request or going away, never counts. An answer that breaks its output contract was
    given: how good answers are is measured elsewhere. A latency is that of an answer, so a request that failed counts
    for availability alone.
    """
    match objective.slo:
        case "availability":
            counts = request.outcome in ANSWERED_OUTCOMES or request.outcome in FAILED_OUTCOMES
            return request.outcome in ANSWERED_OUTCOMES if counts else None
        case "ttft":
            return _within(request.first_token_s, objective.threshold_s)
        case "duration":
            taken_s = request.duration_s if request.outcome in ANSWERED_OUTCOMES else None
            return _within(taken_s, objective.threshold_s)


def _within(seconds: float | None, threshold_s: float | None) -> bool | None:
    return None if seconds is None or threshold_s is None else seconds <= threshold_s
