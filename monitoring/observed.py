"""What is known of one finished request, as the detectors of drift and the checks of quality read it. Plain data.

Whoever fills it decides what may be kept: nothing here is written anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ContractKind = Literal["json_schema", "regex", "choice", "grammar"]


@dataclass(frozen=True, slots=True)
class Contract:
    """What form the answer was promised to have."""

    kind: ContractKind
    schema: Mapping[str, Any] | None = None
    """The JSON Schema of a ``json_schema``; None for one that is any JSON, and for the other kinds."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function that the request offered to the model."""

    name: str
    parameters: Mapping[str, Any] | None = None
    """JSON Schema of its arguments; None where the request gave none, which means any object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the answer made."""

    name: str
    arguments: str
    """As the model wrote them: JSON, if all went well."""


@dataclass(frozen=True, slots=True)
class ObservedAnswer:
    """One request and the first of its answers."""

    request_id: str
    at: float
    """When it ended, in Unix seconds."""
    task: str
    adapter: str
    """The version that answered, or ``base``."""
    role: str
    """``stable``, ``canary``, ``shadow``, ``exact`` or ``base``."""
    outcome: str
    """As in the label of the same name: ``ok``, ``contract_violated``, ``client_error``, ``cancelled``, ..."""
    prompt: str
    """Text of the last message of the user."""
    answer: str
    """Text of the answer, without tool calls."""
    finish_reason: str
    """As the API gave it: ``stop``, ``length``, ``tool_calls``, ...; empty where there was none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    streamed: bool = False
    contract: Contract | None = None
    """None for an answer of free form."""
    contract_violation: str | None = None
    """Why the gateway found the contract broken; None where it holds, or where there is none."""
    tool_calls: tuple[ToolCall, ...] = ()
    tools: tuple[Tool, ...] = ()
    """What the request offered."""
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each token chosen, in order; None where the engine gave none."""
    entropies: tuple[float, ...] | None = None
    """Entropy of the distribution over each token, in nats; of the most probable ones where only those are known."""
    passages: tuple[str, ...] = ()
    """Texts that retrieval put into the prompt, in its order; empty for a task that does not retrieve."""
    citations: int = 0
    """Citations in the answer of passages that were given."""
    dropped_citations: int = 0
    """Citations in the answer of passages that were not given, and which were taken out of it."""
    unsupported_claims: int = 0
    """Claims of the answer that its passages do not hold up."""
    retrieval_scores: tuple[float, ...] = ()
    """Of the passages, best first."""
    feedback: float | None = None
    """What its caller said of it, from 0 (bad) to 1 (good); None until somebody says something."""
