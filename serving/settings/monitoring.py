"""What is observed of answers: how many, what is kept of them, and how drift and quality are told from it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from monitoring.drift.options import DriftOptions
from monitoring.quality.languages import LANGUAGES
from serving.settings.base import Items, Name, Settings, absolute
from serving.settings.knowledge import EmbedderSettings
from serving.settings.life import JudgeSettings

CheckName = Literal[
    "parse",
    "schema",
    "refusal",
    "truncated",
    "repetition",
    "empty",
    "language",
    "tool_call",
    "citation",
    "grounded",
    "confidence",
    "self_consistency",
    "judge",
    "feedback",
]
SignalName = Literal[
    "topics",
    "embedding",
    "prompt_length",
    "answer_length",
    "language",
    "routing",
    "retrieval_score",
    "outcome",
]
Weight = Annotated[float, Field(ge=0, le=1)]
PartOfAlarms = Annotated[float, Field(ge=0)]

_HOUR_S = 3600.0


class DriftSettings(Settings):
    """How a task's requests of late are compared with a reference."""

    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the observed requests that enter the windows, at random. Their prompts are embedded.",
    )
    per_minute: int = Field(
        default=60,
        ge=1,
        description="Requests of one task that a replica takes into the windows in a minute at most, the first ones: "
        "busy minutes weigh less than their share.",
    )
    reference_requests: int = Field(
        default=2000,
        ge=200,
        le=10_000,
        description="Requests in a reference. A task's first ones become its reference, until somebody sets another.",
    )
    reference_hours: float = Field(
        default=24.0, ge=0, description="How long such a first reference is gathered at least, in hours."
    )
    window_hours: float = Field(default=6.0, gt=0, description="How long a live window lasts at least, in hours.")
    looks: Items[int] = Field(
        default=(200, 1000),
        description="After so many requests of a live window it is compared with the reference; with the last number "
        "it may close, and the next one begins.",
    )
    live_rows: int = Field(
        default=1000,
        ge=200,
        le=10_000,
        description="Requests of a live window that are kept; of more, a random sample.",
    )
    false_alarms_per_day: float = Field(
        default=0.05,
        gt=0,
        description="False alarms of one task that are accepted in a day on average, over all signals together.",
    )
    weights: dict[SignalName, PartOfAlarms] = Field(
        default_factory=dict,
        description="A signal's part of the false alarms; 0 leaves it out. Default: `topics` 3, `embedding` 2, the "
        "others 1.",
    )
    check_interval_s: float = Field(
        default=60.0, gt=0, description="How often the windows are looked at and the results shown, in seconds."
    )
    embedder: EmbedderSettings | None = Field(
        default=None,
        description="The model that turns prompts into vectors. Default: `knowledge.embedder`, and where there is no "
        "such section the one that comes with `loraplex[knowledge]`.",
    )
    unusual: int = Field(default=10, ge=0, le=200, description="Most unusual requests that a report lists.")
    map_points: int = Field(
        default=300, ge=0, le=2000, description="Requests of either window on a report's map of prompts."
    )

    @property
    def options(self) -> DriftOptions:
        """The same, as the detectors read it. Raises ValueError."""
        weights = {**DriftOptions().weights, **{str(name): part for name, part in self.weights.items()}}
        return DriftOptions(
            reference_size=self.reference_requests,
            live_size=self.live_rows,
            reference_requests=self.reference_requests,
            reference_s=self.reference_hours * _HOUR_S,
            looks=self.looks,
            share=self.share,
            window_s=self.window_hours * _HOUR_S,
            false_alarms_per_day=self.false_alarms_per_day,
            weights=weights,
            unusual=self.unusual,
            map_points=self.map_points,
        )

    @model_validator(mode="after")
    def _detectors_take_it(self) -> Self:
        _ = self.options
        return self


class SelfConsistencySettings(Settings):
    """A sampled request is answered again a few times, and the answers are held against each other."""

    share: float = Field(default=0.01, gt=0, le=1, description="Share of the observed requests, at random.")
    answers: int = Field(default=3, ge=2, le=8, description="How many further answers are made of one request.")
    temperature: float = Field(
        default=0.7, gt=0, le=2, description="The temperature that they are sampled at: at 0 all would agree."
    )
    requests_per_hour: int = Field(
        default=60, ge=1, description="Requests of one task that a replica has answered again within an hour at most."
    )


class SampledJudgeSettings(JudgeSettings):
    """Sampled answers graded by a judge model. It is sent prompts and answers."""

    api_key_env: str | None = Field(
        default=None, min_length=1, description="Environment variable with the judge's key, at every replica."
    )
    share: float = Field(default=0.01, gt=0, le=1, description="Share of the observed requests, at random.")
    requests_per_hour: int = Field(
        default=60,
        ge=1,
        description="Verdicts on one task that all replicas together ask for within any hour at most.",
    )


class QualitySettings(Settings):
    """How the quality of answers is told without labels."""

    checks: dict[CheckName, Weight] = Field(
        default_factory=dict,
        description="What share of its worth an answer loses that is wholly bad by a check; 0 leaves the check out of "
        "the score. Default: as the check deserves.",
    )
    off: Items[CheckName] = Field(default=(), description="Checks that are not made at all.")
    half_life_requests: float = Field(
        default=200.0, gt=0, description="After so many answers an older one weighs half in the score."
    )
    min_requests: int = Field(default=20, ge=1, description="Answers before there is a score.")
    language: str = Field(
        default="prompt",
        description="Language that answers are to have: `prompt`, that of the prompt; `any`; or an ISO 639-1 code such "
        "as `en`.",
    )
    expects_json: bool = Field(
        default=False, description="Whether answers of tasks without an output contract are to be JSON all the same."
    )
    requires_citations: bool = Field(
        default=False, description="Whether an answer that was given passages and cites none of them is bad."
    )
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=20,
        description="Ask the engine for the log-probability of each token, and for so many alternatives, of which the "
        "entropy is taken. Callers see none that they did not ask for. Default: not asked for.",
    )
    self_consistency: SelfConsistencySettings | None = Field(
        default=None, description="Have sampled requests answered again. Default: none is."
    )
    judge: SampledJudgeSettings | None = Field(
        default=None, description="Have a judge model grade sampled answers. Default: none does."
    )

    @model_validator(mode="after")
    def _nothing_is_asked_for_and_switched_off(self) -> Self:
        for name in ("judge", "self_consistency"):
            if name in self.off and getattr(self, name) is not None:
                raise ValueError(f"`off` names `{name}`, which is set beside it")
        return self

    @field_validator("language")
    @classmethod
    def _language_is_one(cls, value: str) -> str:
        if value not in ("prompt", "any") and not (len(value) == 2 and value.isascii() and value.islower()):
            raise ValueError("must be `prompt`, `any`, or an ISO 639-1 code of two small letters")
        if len(value) == 2 and value not in LANGUAGES:
            raise ValueError(f"`{value}` is none of the languages that are told apart: {', '.join(sorted(LANGUAGES))}")
        return value


class TaskMonitoringSettings(Settings):
    """What is observed otherwise for one task. What is left out is as for all."""

    share: float | None = Field(
        default=None, ge=0, le=1, description="Share of its requests that are observed; 0: none is."
    )
    keep_texts: bool | None = Field(default=None, description="Whether texts of unusual prompts are kept.")
    drift: bool = Field(default=True, description="Whether its drift is watched, where `monitoring.drift` is not null.")
    quality: QualitySettings | None = Field(default=None, description="How its quality is told, in place of the rest.")


class MonitoringSettings(Settings):
    """Drift and output quality. With this section, even an empty one (`monitoring: {}`), answers are observed."""

    share: float = Field(default=1.0, ge=0, le=1, description="Share of the requests that are observed, at random.")
    keep_texts: bool = Field(
        default=False,
        description="Whether prompts are kept in the state database, for the list of unusual ones. Otherwise none "
        "leaves the memory of the gateway's processes, but for a judge.",
    )
    queue: int = Field(
        default=1000,
        ge=10,
        description="Finished requests that wait to be observed; beyond them they are dropped and counted.",
    )
    max_chars: int = Field(
        default=16_000, ge=200, description="Characters of a prompt or of a passage that are looked at."
    )
    drift: DriftSettings | None = Field(
        default_factory=DriftSettings, description="How drift is told; null: it is not watched."
    )
    quality: QualitySettings | None = Field(
        default_factory=QualitySettings, description="How output quality is told; null: it is not watched."
    )
    tasks: dict[Name, TaskMonitoringSettings] = Field(
        default_factory=dict, description="What differs for tasks, aliases or the base model, by name."
    )

    @model_validator(mode="after")
    def _something_is_observed(self) -> Self:
        if self.drift is None and self.quality is None:
            raise ValueError("`drift` and `quality` are both null; leave the section out to observe nothing")
        return self

    def share_of(self, name: str) -> float:
        """The share of requests for ``name`` that are observed."""
        own = self.tasks.get(name)
        return self.share if own is None or own.share is None else own.share

    def quality_of(self, name: str) -> QualitySettings | None:
        """How the quality of ``name`` is told; None where it is not."""
        own = self.tasks.get(name)
        return self.quality if own is None or own.quality is None else own.quality

    def drift_of(self, name: str) -> DriftSettings | None:
        """How the drift of ``name`` is told; None where it is not."""
        own = self.tasks.get(name)
        return self.drift if own is None or own.drift else None

    def keeps_texts_of(self, name: str) -> bool:
        """Whether prompts for ``name`` are kept."""
        own = self.tasks.get(name)
        return self.keep_texts if own is None or own.keep_texts is None else own.keep_texts

    def with_absolute_paths(self, base: Path) -> Self:
        """The same, with every relative path taken from ``base``."""
        if self.drift is None or self.drift.embedder is None or self.drift.embedder.url is not None:
            return self
        embedder = self.drift.embedder.model_copy(update={"model": absolute(self.drift.embedder.model, base)})
        return self.model_copy(update={"drift": self.drift.model_copy(update={"embedder": embedder})})
