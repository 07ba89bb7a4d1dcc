"""From a record of a finished request to what the checks of quality say of it, and to what drift keeps of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from adapters.types import Role
from monitoring.drift.options import DriftOptions
from monitoring.drift.types import UNKNOWN_LANGUAGE
from monitoring.observed import Contract, ObservedAnswer, Tool, ToolCall
from monitoring.quality.agreement import self_consistency
from monitoring.quality.checks import check
from monitoring.quality.confidence import ConfidenceReference, mean_entropy, mean_logprob
from monitoring.quality.languages import SHORT_TEXTS, FunctionWordDetector
from monitoring.quality.options import QualityOptions
from monitoring.quality.types import Check
from monitoring.quality.verdicts import feedback, judge
from monitoring.spec import ANSWERED_OUTCOMES
from serving.config import GatewayConfig, MonitoringSettings
from serving.grounding.token_counter import estimate_tokens
from serving.observing.facts import Fact
from serving.observing.judged import Verdict
from serving.observing.logprobs import entropy
from serving.observing.notes import ANSWER, FEEDBACK, Record
from serving.observing.options import contract_of, quality_options
from serving.observing.reading import asked_form, offered_tools
from serving.tasks import BASE

_USUAL_ROLES = (Role.STABLE, BASE)
_KEPT = DriftOptions().text_length
"""Characters of a prompt that may be kept: no more are ever shown."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one record."""

    fact: Fact
    checks: tuple[Check, ...] = ()
    logprob: float | None = None
    """Mean over the answer's tokens, in nats."""
    entropy: float | None = None


@dataclass(slots=True)
class _Usual:
    """How sure one version usually is of a task's answers."""

    adapter: str
    reference: ConfidenceReference = field(default_factory=ConfidenceReference)


class Checker:
    """One replica's. Not thread-safe."""

    def __init__(self, config: GatewayConfig, settings: MonitoringSettings) -> None:
        self._config = config
        self._settings = settings
        self._contracts = {name: contract_of(task.output) for name, task in config.tasks.items()}
        self._options: dict[str, QualityOptions | None] = {}
        self._usual: dict[str, _Usual] = {}
        self._detector = FunctionWordDetector()

    def look(self, record: Record) -> Looked:
        """What a record shows. Raises what a record raises that is none."""
        options = self._quality_options(record["task"])
        if record["kind"] == ANSWER:
            return self._look_at_answer(record, options)
        checks: tuple[Check, ...] = ()
        if options is not None and record["kind"] == FEEDBACK:
            checks = (feedback(record["score"]),)
        elif options is not None:
            found = self_consistency(record["answers"], options.agreement)
            checks = () if found is None else (found,)
        kept = tuple(one for one in checks if options is not None and one.name not in options.disabled)
        return Looked(_fact(record, kept), kept)

    def judged(self, verdict: Verdict) -> Looked:
        """What a judge's verdict shows. Raises ValueError for a value that is none."""
        sampled = verdict.sampled
        checks = (judge(verdict.value),)
        where = {"task": sampled.task, "adapter": sampled.adapter, "role": sampled.role, "at": sampled.at}
        return Looked(_fact(where, checks), checks)

    def _look_at_answer(self, record: Record, options: QualityOptions | None) -> Looked:
        answer = self._observed(record)
        checks: tuple[Check, ...] = ()
        # What the gateway says itself, where documents are silent, is no version's work.
        own = record.get("grounding", {}).get("own_answer", False)
        counts = options is not None and not own and answer.outcome in ANSWERED_OUTCOMES
        if options is not None and counts:
            usual = self._reference(answer)
            checks = check(answer, options, usual=usual.usual, detector=self._detector)
            if answer.role in _USUAL_ROLES and not any(one.bad for one in checks):
                usual.add(answer)
        fact = _fact(record, checks, counts=counts)
        if record["is_drawn"]:
            fact |= {"drift": self._drift(record, answer), "prompt": record["prompt"]}
        return Looked(fact, checks, mean_logprob(answer), mean_entropy(answer))

    def _observed(self, record: Record) -> ObservedAnswer:
        grounding: dict[str, Any] = record.get("grounding", {})
        return ObservedAnswer(
            request_id=record["id"],
            at=record["at"],
            task=record["task"],
            adapter=record["adapter"],
            role=record["role"],
            outcome=record["outcome"],
            prompt=record["prompt"],
            answer=record["answer"],
            finish_reason=record["finish_reason"],
            prompt_tokens=record["prompt_tokens"],
            completion_tokens=record["completion_tokens"],
            streamed=record["streamed"],
            contract=self._contract(record),
            contract_violation=record["violation"],
            tool_calls=tuple(ToolCall(name, arguments) for name, arguments in record["calls"]),
            tools=tuple(Tool(name, parameters) for name, parameters in offered_tools(record.get("tools"))),
            logprobs=_logprobs(record.get("logprobs")),
            entropies=_entropies(record.get("alternatives")),
            passages=tuple(grounding.get("passages", ())),
            citations=grounding.get("citations", 0),
            dropped_citations=grounding.get("dropped", 0),
            unsupported_claims=grounding.get("unsupported", 0),
            retrieval_scores=tuple(grounding.get("scores", ())),
        )

    def _contract(self, record: Record) -> Contract | None:
        own = self._contracts.get(record["task"]) if record["is_task"] else None
        if own is not None:
            return own
        form = asked_form(record.get("form"))
        return None if form is None else Contract("json_schema", form[1])

    def _drift(self, record: Record, answer: ObservedAnswer) -> dict[str, Any]:
        scores = answer.retrieval_scores
        return {
            "prompt_tokens": length_of(answer.prompt) or answer.prompt_tokens,
            "answer_tokens": length_of(answer.answer) or answer.completion_tokens,
            "language": self.language(answer.prompt),
            "retrieval_score": max(scores) if scores else None,
            "outcome": answer.outcome,
            "text": answer.prompt[:_KEPT] if self._settings.keeps_texts_of(record["task"]) else None,
            "embedding": None,
            "model": "",
        }

    def language(self, text: str) -> str:
        """The language of a prompt, as drift compares it."""
        return SHORT_TEXTS.detect(text) or UNKNOWN_LANGUAGE

    def _quality_options(self, name: str) -> QualityOptions | None:
        if name not in self._options:
            settings = self._settings.quality_of(name)
            task = self._config.tasks.get(name)
            self._options[name] = None if settings is None else quality_options(settings, task)
        return self._options[name]

    def _reference(self, answer: ObservedAnswer) -> ConfidenceReference:
        """What is usual for the task; it begins anew with another stable version."""
        known = self._usual.get(answer.task)
        if known is None or (answer.role in _USUAL_ROLES and known.adapter != answer.adapter):
            known = self._usual[answer.task] = _Usual(answer.adapter)
        return known.reference


def length_of(text: str) -> int:
    """In tokens, by estimate: comparable between requests, and with rows that nobody has counted."""
    return estimate_tokens(text)


def _fact(record: Record, checks: Iterable[Check], *, counts: bool = False) -> Fact:
    """``counts``: whether it is a finished answer, and not something that was found out of one later."""
    return {
        "task": record["task"],
        "adapter": record["adapter"],
        "role": record["role"],
        "at": record["at"],
        "checks": [[one.name, one.badness] for one in checks],
        "counts": counts,
        "drift": None,
    }


def _entropies(alternatives: list[list[float | None]] | None) -> tuple[float, ...] | None:
    if not alternatives:
        return None
    return tuple(entropy([value for value in place if value is not None]) for place in alternatives)


def _logprobs(values: list[float | None] | None) -> tuple[float, ...] | None:
    """JSON has no infinity: what an engine calls impossible arrives as nothing."""
    return None if values is None else tuple(-math.inf if value is None else value for value in values)
