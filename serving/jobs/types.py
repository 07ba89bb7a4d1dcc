"""What is known of fine-tuning jobs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Json = Mapping[str, Any]


class JobStatus(StrEnum):
    """OpenAI's states of a job."""

    QUEUED = "queued"
    VALIDATING = "validating_files"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobStatus.VALIDATING, JobStatus.RUNNING)
"""A trainer works on it, or is about to be started again."""
STARTABLE = (JobStatus.QUEUED, *ACTIVE)
UNFINISHED = (*STARTABLE, JobStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job, as it is stored."""

    id: str
    serial: int
    """Order of arrival, which is the order of the queue."""
    owner: str
    """Name of the key that created it."""
    status: JobStatus
    model: str
    """The base model, by the name that the caller used."""
    method: str
    """``supervised`` or ``dpo``."""
    hyperparameters: Json
    """As the caller gave them, ``auto`` included."""
    adapter: str
    """Name of the adapter that the result is a version of."""
    recipe: Json
    """What the caller asked for besides."""
    allow: list[str]
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    metadata: Mapping[str, str] | None
    created_at: int
    finished_at: int | None = None
    estimated_finish: int | None = None
    error: Json | None = None
    version: str | None = None
    """The adapter version that came of it."""
    trained_tokens: int | None = None
    fruitless_starts: int = 0
    """Starts since the last new checkpoint."""
    read_to: int = 0
    """How much of the trainer's event file is in the records, in bytes."""
    announced: bool = False
    """Whether the result was handed on to whoever decides what becomes of it."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened to a job."""

    message: str
    at: float
    """Unix seconds."""
    level: str = "info"
    kind: str = "message"
    """``message`` or ``metrics``."""
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """The same, stored."""

    number: int
    """Order of arrival, over all jobs."""
    job_id: str
    created_at: int
    level: str
    kind: str
    message: str
    data: Json


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A state that a trainer can go on from."""

    step: int
    path: str
    """Relative to the job's folder."""
    metrics: Json
    at: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The same, stored."""

    number: int
    job_id: str
    created_at: int
    step: int
    path: str
    metrics: Json
    version: str | None
    """The adapter version, where it was published."""


@dataclass(frozen=True, slots=True)
class News:
    """What a piece of a trainer's event file tells."""

    events: tuple[NewEvent, ...] = ()
    checkpoints: tuple[NewCheckpoint, ...] = ()
    phase: str | None = None
    """The last one that was entered."""
    seconds_left: float | None = None
    read_to: int = 0


class Candidates(Protocol):
    """Decides what becomes of a new version."""

    async def candidate(self, version: str, *, actor: str) -> None:
        """A new version is in the catalog: do what the policy of its adapter says; once for each actor.

        Raises:
            AdapterServerError, NotReady: not now; it is worth trying again.
        """
        ...
