"""What a drift detector is told, and what it says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Labels = NDArray[np.bool_]
"""True for rows of the live window; of pooled rows, or of several permutations of them."""

UNKNOWN_LANGUAGE = "unknown"
"""In place of the code of a language that cannot be told: a category like any other."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One finished request of the task."""

    at: float
    """When it ended, in Unix seconds."""
    embedding: Vectors | None
    """Of the prompt, shape ``(dimension,)``; its length does not matter. None where there is none."""
    prompt_tokens: int
    answer_tokens: int
    language: str
    """Of the prompt: its ISO 639-1 code, or :data:`UNKNOWN_LANGUAGE`."""
    adapter: str
    """The version that answered, or ``base``."""
    retrieval_score: float | None
    """Of the best passage; None for a request that retrieved nothing."""
    outcome: str
    text: str | None = None
    """The prompt, where it may be kept and shown; None where it may not."""


@dataclass(frozen=True, slots=True)
class DriftSignal:
    """What one signal said when it was last looked at."""

    name: str
    statistic: float
    p_value: float
    """Probability of a statistic as large as this one if nothing had changed."""
    effect: float
    """How large the change is, from 0 to 1: of ``topics`` the share of the live prompts that are too many where they
    are; of ``embedding`` the distance of the two windows' means over the largest there can be; of lengths and scores
    the Kolmogorov-Smirnov distance; of the others the share of requests that moved to another category."""
    detected: bool
    """Whether it was found to have drifted in the present live window or, until that one closes, in the one before."""
    reference_n: int
    live_n: int
    note: str = ""
    alpha: float = 0.0
    """The level it was tested at; 0 where it was not."""
    since: float | None = None
    """When it was first found in an unbroken row of windows, in Unix seconds; None where it is not detected."""


@dataclass(frozen=True, slots=True)
class Unusual:
    """A live prompt that a person should see."""

    place: int
    """The request's number since the detector began, from 1."""
    at: float
    distance: float
    """From the reference: cosine distance, from 0 to 2."""
    language: str
    adapter: str
    text: str | None
    """None where it may not be shown."""


@dataclass(frozen=True, slots=True)
class Point:
    """A prompt on the map."""

    x: float
    y: float
    live: bool
    place: int
    """As in :class:`Unusual`."""
    marked: bool
    """Whether it is one of the unusual ones, or in the neighbourhood that has grown."""


@dataclass(frozen=True, slots=True)
class Window:
    """One of the two sides."""

    rows: int
    """Requests that are kept."""
    seen: int
    """Requests that they were drawn from."""
    first_at: float | None
    last_at: float | None
    sampling_error: float
    """A share among the rows is within this of the share among the requests, with 95 % confidence."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How a task stands."""

    at: float
    frozen: bool
    """Whether there is a reference; while it is being gathered nothing is tested."""
    reference: Window
    live: Window | None
    window: int
    """Which live window it is, from 1; 0 where there was none yet."""
    window_alpha: float
    """Probability of a false alarm in one live window, over all signals and looks."""
    signals: tuple[DriftSignal, ...] = ()
    """As of the last look; empty until the first one."""
    found: tuple[str, ...] = ()
    """Signals that were found to have drifted by a look that this report made."""
    closed: bool = False
    """Whether this report closed its live window."""
    unusual: tuple[Unusual, ...] = ()
    """The live prompts that are farthest from the reference, the farthest first."""
    grown: tuple[Unusual, ...] = ()
    """Live prompts of the neighbourhood that has grown most, where ``topics`` was found to have drifted by it."""
    map: tuple[Point, ...] = ()
    """Both windows along the two directions in which the reference varies most."""
