"""The life of a version beyond its weights: reports, automatic rollouts, what they count. Pure data, no framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where an automatic rollout is."""

    EXAMINING = "examining"
    """The suite runs against the candidate and against the stable version, and the gate compares them."""
    SHADOW = "shadow"
    """The candidate gets a copy of the traffic."""
    CANARY = "canary"
    """The candidate answers a share of the callers."""
    PROMOTING = "promoting"
    """Until the alias has flipped, the candidate answers what it answered before."""
    ROLLING_BACK = "rolling_back"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    KEPT = "kept"
    """It passed, and stays a candidate: somebody has to decide."""
    REFUSED = "refused"
    """It did not pass the gate."""
    STOPPED = "stopped"
    """Somebody took it over, or it ran into its time limit and left things as they were."""
    FAILED = "failed"
    """It could not be carried out."""

    @property
    def ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self not in _GOING_ON

    @property
    def watched(self) -> bool:
        """Whether replicas count what happens to requests."""
        return self in (Phase.SHADOW, Phase.CANARY, Phase.PROMOTING)


_GOING_ON = (Phase.EXAMINING, Phase.SHADOW, Phase.CANARY, Phase.PROMOTING, Phase.ROLLING_BACK)


@dataclass(frozen=True, slots=True)
class RolloutMark:
    """An alias's last automatic rollout, as replicas see it in a snapshot."""

    id: int
    alias: str
    candidate: str
    stable: str | None
    phase: Phase
    share: float
    """Share of the callers, in [0, 1], that the candidate answers."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """An automatic rollout, in progress or ended."""

    id: int
    alias: str
    candidate: str
    stable: str | None
    """What it is compared with; None for an adapter's first version."""
    phase: Phase
    share: float
    policy: Mapping[str, Any]
    """The settings that it follows, as they were when it began."""
    state: Mapping[str, Any]
    """What its controller needs to go on."""
    reason: str
    """Why it is where it is."""
    actor: str
    generation: int
    """Number of changes so far; a writer that has seen another one is refused."""
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody found out about a version."""

    version: str
    kind: str
    """``run`` (a suite), ``gate``, ``rollout``, or a word of the reporter's own."""
    verdict: str | None
    """Such as ``passed``, ``failed``, ``promoted``, ``rolled_back``; None where it judges nothing."""
    summary: str
    body: Mapping[str, Any]
    actor: str = ""
    at: datetime | None = None
    """Set when it is written."""
    id: int = 0


@dataclass(slots=True)
class RoleCounts:
    """What became of the requests of one role in one rollout. Only ever grows."""

    signals: dict[str, list[int]] = field(default_factory=dict)
    """By signal: how many requests were looked at, and how many of them were bad."""
    seconds: dict[str, dict[int, int]] = field(default_factory=dict)
    """By kind of latency: how many requests fell into each bucket."""

    def note(self, signal: str, *, bad: bool) -> None:
        """Count one request."""
        tally = self.signals.setdefault(signal, [0, 0])
        tally[0] += 1
        tally[1] += bad

    def took(self, kind: str, bucket: int) -> None:
        """Count one latency."""
        counts = self.seconds.setdefault(kind, {})
        counts[bucket] = counts.get(bucket, 0) + 1

    def add(self, other: "RoleCounts") -> None:
        """Add everything that ``other`` counted."""
        for signal, (n, bad) in other.signals.items():
            tally = self.signals.setdefault(signal, [0, 0])
            tally[0] += n
            tally[1] += bad
        for kind, counts in other.seconds.items():
            mine = self.seconds.setdefault(kind, {})
            for bucket, n in counts.items():
                mine[bucket] = mine.get(bucket, 0) + n

    def to_json(self) -> dict[str, Any]:
        """As it is stored: a copy, which later counts leave alone."""
        return {
            "signals": {signal: list(tally) for signal, tally in self.signals.items()},
            "seconds": {
                kind: {str(bucket): n for bucket, n in counts.items()} for kind, counts in self.seconds.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RoleCounts":
        """What :meth:`to_json` gave."""
        return cls(
            {signal: list(tally) for signal, tally in data["signals"].items()},
            {kind: {int(bucket): n for bucket, n in counts.items()} for kind, counts in data["seconds"].items()},
        )


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """One answer that its caller may judge."""

    response_id: str
    """The ``id`` of the answer's body; empty where it had none."""
    request_id: str
    """The header ``x-request-id`` of the answer."""
    caller: str
    task: str
    alias: str
    version: str
    role: str
    rollout: int | None
    """The automatic rollout that it counts for."""
    at: datetime
    score: float | None = None
    """In [0, 1]; None until somebody judges it."""
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A finished request of a version under watch, kept until one signal has a score of its answer."""

    rollout: int
    role: str
    signal: str
    version: str
    task: str
    content: str = field(repr=False)
    """Prompt, answer and passages, as JSON of ASCII characters alone."""
    at: datetime
    expires_at: datetime
    """When it is deleted, scored or not."""
    id: int = 0
    """Set when it is written."""


@dataclass(frozen=True, slots=True)
class NewScore:
    """What a signal made of one answer, of which no sample was kept."""

    rollout: int
    role: str
    signal: str
    value: float
    """In [0, 1], more is better."""


@dataclass(frozen=True, slots=True)
class SampleScore:
    """What a signal made of one sample."""

    source: str
    """The process that scored it."""
    place: int
    """Its place among the scores of that process, from 1."""
    role: str
    signal: str
    value: float
    """In [0, 1], more is better."""
