"""What the gateway asks of an engine.

Requests and answers are OpenAI JSON objects. The engine owns chat templates, tokenisation, sampling, tool
parsing and structured outputs; the gateway owns names, tasks, versions, accounting and errors.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from adapters.types import Tier

JsonObject = dict[str, Any]
Progress = Callable[[str], None]


class Endpoint(StrEnum):
    """The OpenAI resource that a request is for."""

    CHAT = "chat.completions"
    COMPLETIONS = "completions"
    RESPONSES = "responses"


@dataclass(slots=True)
class EngineTimings:
    """What an engine says of the time that one request took in it, in seconds. It writes here what it knows."""

    queue_s: float | None = None
    """In its queue, before it began; None where it does not tell."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One generation."""

    endpoint: Endpoint
    body: JsonObject
    """The OpenAI request. Its ``model`` is ignored: ``adapter`` says what answers. Never mutated by an engine."""
    request_id: str
    adapter: str | None = None
    """Name of a version that is loaded in the engine; None for the base model."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case request headers that engines may use (trace context)."""
    timings: EngineTimings = field(default_factory=EngineTimings, compare=False)
    """Where the engine notes how long it took."""


@dataclass(frozen=True, slots=True)
class AdapterCapacity:
    """How many adapters an engine holds at once."""

    slots: int
    """Versions that can take part in one batch (vLLM's ``max_loras``)."""
    cpu_slots: int
    """Versions that can be loaded at once, slots included (vLLM's ``max_cpu_loras``)."""
    max_rank: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a started engine says of itself."""

    model: str
    """The base model's public name."""
    max_model_len: int | None
    adapters: AdapterCapacity | None
    """None where the engine cannot load adapters."""
    version: str = ""
    series: tuple[str, ...] = ()
    """Families of its own metrics that the dashboards read and that it is known to have, as TYPE lines name them."""


@dataclass(frozen=True, slots=True)
class ResidentAdapter:
    """One loaded adapter, by the engine's own account."""

    name: str
    tier: Tier


class EngineError(Exception):
    """Base of what an engine raises."""


class EngineRejected(EngineError):
    """The engine refuses the request: a client error, in OpenAI terms."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002  (OpenAI's own field name)
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.code = code


class EngineFailed(EngineError):
    """The engine failed on this request, and lives on."""


class EngineUnavailable(EngineError):
    """The engine is starting, stopped or dead: nothing can be generated now."""


class EngineAdapterError(EngineError):
    """The engine could not load or unload an adapter."""


class Engine(Protocol):
    """One base model with loadable adapters.

    The contract, which every implementation passes (tests/contract/test_engine.py):

    - ``complete`` and ``stream`` give OpenAI-shaped objects with true ``usage``; ``stream`` yields one object
      per server-sent event, without the closing ``[DONE]``, and always ends with usage (chat and completions:
      a chunk whose ``choices`` is empty; responses: the ``response.completed`` or ``response.incomplete`` event).
    - Cancelling ``complete``, or closing ``stream``, aborts the generation inside the engine.
    - A request never falls back silently to the base model: an ``adapter`` that is not loaded raises
      :class:`EngineAdapterError`.
    - After ``unload_adapter`` returns, ``resident`` no longer lists the adapter.
    - The same path loaded under two names is two adapters, and nothing cached for one is used for the other.
    """

    async def start(self, progress: Progress) -> EngineInfo:
        """Bring the engine up, telling ``progress`` what it is doing. Raises EngineUnavailable."""
        ...

    async def stop(self) -> None:
        """Release everything, processes included. Safe to call twice, and before ``start``."""
        ...

    async def complete(self, request: EngineRequest) -> JsonObject:
        """The whole answer. Raises EngineRejected, EngineFailed, EngineUnavailable, EngineAdapterError."""
        ...

    def stream(self, request: EngineRequest) -> AsyncGenerator[JsonObject, None]:
        """The answer piece by piece. Raises as ``complete``, before or after the first object."""
        ...

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load the adapter in ``path`` under ``name``, which never stood for another adapter.

        Raises EngineAdapterError.
        """
        ...

    async def unload_adapter(self, name: str) -> None:
        """Remove an adapter that no request uses. Unknown names are ignored."""
        ...

    async def resident(self) -> Sequence[ResidentAdapter]:
        """The adapters that the engine itself says it holds."""
        ...

    async def dead(self) -> None:
        """Return once the engine has died by itself; never for one that lives, was stopped, or is elsewhere."""
        ...

    async def check_health(self) -> None:
        """Raises EngineUnavailable if the engine cannot generate."""
        ...

    def metrics_text(self) -> bytes:
        """The engine's own metrics in Prometheus text format; empty where it has none."""
        ...
