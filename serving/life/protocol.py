"""What the life of versions looks like to those who make or judge them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adapters.rollout_types import Report, Sample


class Life(Protocol):
    """Takes a version from candidate to stable, by the policy of its adapter."""

    async def candidate(self, version: str, *, actor: str) -> None:
        """A new version is in the catalog: do what the policy of its adapter says. Returns before it is done.

        An adapter without a policy keeps the version as it is. So does one whose last rollout is still going on.

        Raises:
            VersionNotFound: no such version.
            CatalogUnavailable: nothing was begun.
        """
        ...


@dataclass(frozen=True, slots=True)
class Examination:
    """What is to be found out about a candidate before anybody is answered by it."""

    rollout: int
    """Names the examination: the same one again goes on where it was broken off."""
    candidate: str
    current: str | None
    """The version to compare with; None where there is none, and nothing to gate by."""
    suite: Path
    gate: Mapping[str, Any]
    """Fields of ``training.gating.gate.GatePolicy``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination came to."""

    passed: bool
    reason: str
    reports: tuple[Report, ...]
    """Of the suite's runs and of the gate, to be attached to the candidate."""


class Examiner(Protocol):
    """Runs suites and the gate, outside of the processes that serve."""

    async def examine(self, examination: Examination) -> Finding:
        """Do it, however long it takes. Cancelling ends it; what is done is not done again next time.

        Raises:
            ExaminationFailed: it could not be carried out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """Samples of one rollout that one signal is to score."""

    signal: str
    settings: Mapping[str, Any]
    """The signal's, as JSON."""
    samples: tuple[Sample, ...]

    @property
    def line(self) -> str:
        """As JSON, on one line."""
        samples = [sample.content for sample in self.samples]
        return json.dumps({"signal": self.signal, "settings": dict(self.settings), "samples": samples})


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of an order."""

    values: tuple[float | None, ...]
    """One for each sample, in [0, 1], more is better, None where there is no score; empty where nothing was tried."""
    problem: str = ""
    """Why there was no score for some or all of them, without a word of theirs; empty where nothing went wrong."""


class Scoring(Protocol):
    """Scores samples, outside of the processes that serve."""

    async def score(self, order: Order) -> Scored:
        """Do it. What goes wrong is in the answer, and never raised."""
        ...

    async def close(self) -> None:
        """Let go of everything; a later order begins anew."""
        ...
