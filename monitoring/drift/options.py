"""What a drift detector is asked for. No numpy here: settings are read where nothing is computed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

TOPICS = "topics"
EMBEDDING = "embedding"
PROMPT_LENGTH = "prompt_length"
ANSWER_LENGTH = "answer_length"
LANGUAGE = "language"
ROUTING = "routing"
RETRIEVAL_SCORE = "retrieval_score"
OUTCOME = "outcome"

SIGNALS = (TOPICS, EMBEDDING, PROMPT_LENGTH, ANSWER_LENGTH, LANGUAGE, ROUTING, RETRIEVAL_SCORE, OUTCOME)
"""In the order of every report."""

DAY_S = 86_400.0

LEAST_ROWS = 30
"""Rows that a signal needs on either side to be tested at all."""

LEAST_LEVEL = 2e-5
"""The lowest level that a signal can be tested at: below it the permutations of one look take minutes."""

ROW_BYTES = 1_024
"""What a row takes at most beside its vector and its text, where names are ASCII; they are cut to 128 characters."""


def _weights() -> dict[str, float]:
    return {name: {TOPICS: 3.0, EMBEDDING: 2.0}.get(name, 1.0) for name in SIGNALS}


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How one task is watched.

    A live window is open until it has had ``looks[-1]`` requests and has lasted ``window_s``; the next one begins after
    it. It is looked at when it has had so many requests as each of ``looks`` says but the last, and when it closes.

    Raises:
        ValueError: a value is out of its range.
    """

    reference_size: int = 2_000
    """Rows kept of the reference window."""
    live_size: int = 1_000
    """Rows kept of a live window."""
    reference_requests: int | None = 2_000
    """Requests after which a reference that is being gathered is frozen by itself; None: only when told to."""
    reference_s: float = DAY_S
    """How long it is gathered at least before it is frozen by itself, in seconds: a day has all hours in it."""
    least_reference: int = 200
    """Fewer rows cannot be frozen."""
    looks: tuple[int, ...] = (200, 1_000)
    """Requests of a live window after which it is looked at."""
    share: float = 1.0
    """Share of the requests that are observed, drawn at random; the sampling error that is stated depends on it."""
    window_s: float = 6 * 3_600.0
    """How long a live window lasts at least, in seconds."""
    false_alarms_per_day: float | None = 0.05
    """Windows a day, on average, in which any signal is found although nothing has changed."""
    false_alarms_per_window: float | None = None
    """The same for one window, a probability. Exactly one of the two is given."""
    weights: Mapping[str, float] = field(default_factory=_weights)
    """How the false alarm rate is shared among the signals; a signal of weight 0, or without one, is not tested."""
    neighbours: int = 3
    """How far a prompt is from the reference: as far as the third nearest prompt there, or another than the third."""
    unusual: int = 10
    """How many of the most distant prompts are shown."""
    map_points: int = 300
    """How many prompts of each window the map shows."""
    text_length: int = 200
    """Characters kept of a prompt that may be shown."""

    def __post_init__(self) -> None:
        rules = (
            ("least_reference", self.least_reference >= LEAST_ROWS, f"at least {LEAST_ROWS}"),
            ("reference_size", self.reference_size >= self.least_reference, "at least least_reference"),
            ("live_size", self.live_size >= LEAST_ROWS, f"at least {LEAST_ROWS}"),
            ("looks", bool(self.looks) and self.looks[0] >= LEAST_ROWS, f"numbers of at least {LEAST_ROWS}"),
            ("looks", all(a < b for a, b in pairwise(self.looks)), "growing numbers"),
            ("share", 0 < self.share <= 1, "above 0 and at most 1"),
            ("window_s", 0 <= self.window_s < math.inf, "0 or more"),
            ("reference_s", 0 <= self.reference_s < math.inf, "0 or more"),
            ("neighbours", 1 <= self.neighbours <= 16, "between 1 and 16"),
            ("unusual", self.unusual >= 0, "0 or more"),
            ("map_points", self.map_points >= 0, "0 or more"),
            ("text_length", self.text_length >= 0, "0 or more"),
        )
        for name, holds, wanted in rules:
            if not holds:
                raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)}")
        if self.reference_requests is not None and self.reference_requests < self.least_reference:
            raise ValueError(f"reference_requests must be at least least_reference, not {self.reference_requests}")
        self._check_weights()
        self._check_rate()

    @property
    def window_alpha(self) -> float:
        """Probability of a false alarm in one live window, over all signals and looks."""
        if self.false_alarms_per_window is not None:
            return self.false_alarms_per_window
        return (self.false_alarms_per_day or 0.0) * self.window_s / DAY_S

    def memory_bytes(self, dimension: int) -> int:
        """What the rows of one detector take at most, for embeddings of this size. A look takes more while it lasts."""
        row = 2 * dimension + ROW_BYTES
        return self.reference_size * row + self.live_size * (row + 4 * self.text_length)

    def _check_weights(self) -> None:
        if unknown := sorted(self.weights.keys() - set(SIGNALS)):
            raise ValueError(f"weights names no signal: {', '.join(unknown)}")
        if not all(0 <= weight < math.inf for weight in self.weights.values()) or not sum(self.weights.values()):
            raise ValueError("weights must be 0 or more, and one of them more")

    def _check_rate(self) -> None:
        if (self.false_alarms_per_day is None) == (self.false_alarms_per_window is None):
            raise ValueError("give one of false_alarms_per_day and false_alarms_per_window")
        if self.false_alarms_per_day is not None and self.window_s == 0:
            raise ValueError("false_alarms_per_day needs a window_s: else a day has any number of windows")
        if not 0 < self.window_alpha < 1:
            raise ValueError(f"the false alarm rate of a window must be between 0 and 1, not {self.window_alpha:g}")
        weights = [weight for weight in self.weights.values() if weight > 0]
        lowest = self.window_alpha / len(self.looks) * min(weights) / sum(weights)
        if lowest < LEAST_LEVEL:
            raise ValueError(
                f"the false alarm rate must leave each signal a level of {LEAST_LEVEL:g} at least in each look; "
                f"one has {lowest:.2g}: raise the rate or its weight, or leave it out"
            )
