"""What a scorer is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import Field

from training.errors import SuiteInvalid
from training.evaluation.strict import Strict
from training.evaluation.types import Answer, Case


class Named(Strict):
    """Settings of a scorer."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """Put before the names of its metrics, with a dot; needed where a suite has two of a kind."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one answer."""

    value: float
    """In [0, 1], more is better."""
    note: str = ""
    """Why it is not 1, in words."""


Scores = Mapping[str, Score]


class Scorer(Protocol):
    """Judges answers by rule alone: the same answer always has the same scores. Thread-safe."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it measures, the most telling first."""
        ...

    def score(self, case: Case, answer: Answer) -> Scores:
        """Every metric of one answer; never raises, whatever the answer holds."""
        ...


@dataclass(frozen=True, slots=True)
class Materials:
    """What a scorer is made from besides its settings."""

    folder: Path
    """Where relative paths start."""
    cases: Sequence[Case]
    cases_file: Path

    def demand(self, holds: bool, case: Case, what: str) -> None:  # noqa: FBT001
        """Raises SuiteInvalid, naming the case's line, where ``holds`` is false."""
        if not holds:
            raise SuiteInvalid(f"{self.cases_file}:{case.line}: case `{case.id}` {what}")


def shorten(text: str, most: int = 120) -> str:
    """A text for a note: on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
