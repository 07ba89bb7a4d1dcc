"""What the recorder is told: one generation, one look for passages, what is resident, what is rolled out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitoring.spec import BASE


class Residency(Protocol):
    """One replica's account of one adapter version, as ``set_residency`` reads it."""

    @property
    def version(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def in_flight(self) -> int: ...


class Rollout(Protocol):
    """One automatic rollout, as ``set_rollouts`` reads it."""

    @property
    def alias(self) -> str: ...
    @property
    def candidate(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def share(self) -> float: ...


class CurrentTrace(Protocol):
    """Names the trace that exemplars lead to."""

    def __call__(self) -> str | None:
        """The id of the trace that the caller's code runs in, 32 hex digits (W3C Trace Context, section 3.2.2.3); None
        outside of a trace, and for one that is not kept: an exemplar that leads nowhere helps nobody."""
        ...


def no_trace() -> str | None:
    """There are no traces."""
    return None


@dataclass(slots=True)
class RequestRecord:
    """What one generation did. Times are in seconds."""

    task: str
    adapter: str = BASE
    role: str = BASE
    outcome: str = "ok"
    duration_s: float = 0.0
    engine_s: float = 0.0
    """Time spent waiting for the engine."""
    adapter_wait_s: float = 0.0
    retrieval_s: float = 0.0
    """Time spent waiting for the search for passages."""
    client_s: float = 0.0
    """Time spent waiting for the client to take what was sent."""
    streamed: bool = False
    """Whether the answer is one that is streamed."""
    first_token_s: float | None = None
    """From arrival to the first token; None for an answer that is not streamed."""
    gaps_s: list[float] = field(default_factory=list)
    """Between consecutive deltas of a stream."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    contract_violation: str | None = None
    stream_error: bool = False
    admission_s: float | None = None
    """From arrival until there was a place; None where none was taken."""
    engine_queue_s: float | None = None
    """In the engine's queue, before it began; None where the engine does not tell."""
    trace_id: str | None = None
    """The trace that the exemplars of this request lead to; None: the one that is current when it is counted."""

    @property
    def queue_s(self) -> float | None:
        """How long it waited to be worked on; None where nothing is known of it."""
        if self.admission_s is None and self.engine_queue_s is None:
            return None
        return (self.admission_s or 0.0) + (self.engine_queue_s or 0.0)


@dataclass(frozen=True, slots=True)
class RetrievalRecord:
    """What looking for one generation's passages came to."""

    task: str
    outcome: str
    seconds: Mapping[str, float]
    """By stage."""
    ages_s: Sequence[float] = ()
    """Of the content of each passage given, in seconds."""
    expired: int = 0
    """Documents left out because they have expired."""
    budget_used: float | None = None
    """Share of the token budget, from 0 to 1; None where no passage was given."""
