"""The values that suites, gates and diagnoses exchange. Pure data, no framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One question of a suite, and what a good answer is."""

    id: str
    """Unique in its suite, and the same from run to run."""
    messages: tuple[Json, ...]
    """The prompt, as OpenAI chat messages."""
    expected: str | None = None
    """The reference answer; None where scorers need none."""
    tools: tuple[Json, ...] = ()
    """OpenAI tool definitions that are sent along."""
    expected_tool_calls: tuple[Json, ...] = ()
    """Function name and arguments of each call that is wanted: ``{"name": ..., "arguments": {...}}``."""
    context: tuple[str, ...] = ()
    """Passages that hold the answer: the oracle of a diagnosis, and what groundedness is checked against."""
    tags: tuple[str, ...] = ()
    """Slices that results are also reported for."""
    line: int = 0
    """The line of the cases' file that it stands on, from 1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint said to one case."""

    text: str
    """The content; empty where there was none."""
    tool_calls: tuple[Json, ...] = ()
    """OpenAI tool calls, as they came."""
    finish_reason: str | None = None
    version: str | None = None
    """Which adapter version answered, where the endpoint says so (header ``x-loraplex-adapter``)."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """From sending the request to its last byte."""
    citations: tuple[Json, ...] = ()
    """The message's ``annotations``."""
    error: str | None = None
    """Why there is no answer; a case without one scores 0 everywhere."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One answer and its scores."""

    case_id: str
    repeat: int
    """From 0; a suite may ask each case several times."""
    answer: Answer
    scores: Mapping[str, float]
    """By metric, each in [0, 1], more is better. A judge's metric is not there where it gave no verdict."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why a metric is not 1, by metric, in words."""
    verdicts: tuple[Json, ...] = ()
    """What judge models said, as recorded: ``metric``, ``order``, ``value`` (None where no verdict could be read),
    ``reason`` and ``replies``, every text that came."""


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """Everything that one run of a suite against one model found, and what is needed to run it again."""

    suite: str
    """The suite's name."""
    suite_digest: str
    """SHA-256 over the suite file and its cases."""
    model: str
    """What was asked for as ``model``."""
    version: str | None
    """The adapter version that answered every case; None where none did, or several."""
    primary: str
    """The metric that a gate decides by unless it is told otherwise."""
    results: tuple[CaseResult, ...]
    """In the order of the cases, repeats of a case together."""
    record: Mapping[str, Any]
    """Endpoint, request parameters, seeds, times, software versions: to run it again."""

    def values(self, metric: str) -> dict[str, float]:
        """The metric's value for each case that has it: the mean over its repeats.

        Raises:
            KeyError: no case has the metric.
        """
        found: dict[str, list[float]] = {}
        for result in self.results:
            if metric in result.scores:
                found.setdefault(result.case_id, []).append(result.scores[metric])
        if not found:
            raise KeyError(metric)
        return {case_id: sum(values) / len(values) for case_id, values in found.items()}
