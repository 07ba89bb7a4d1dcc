"""How a version comes from candidate to stable by itself, and what callers may say of answers."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from serving.settings.base import URL_PATTERN, FilePath, Items, Settings

SUITE = "suite"
JUDGE = "judge"
QUALITY = "quality"
SAMPLED = (SUITE, JUDGE)
"""Signals that are scores of sampled answers, which are kept until they have one."""
SCORED = (*SAMPLED, QUALITY)
"""Signals that are scores, whose means are compared; the others are counts of bad outcomes."""


class SignalSettings(Settings):
    """How one online signal is tested."""

    margin: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="By how much the candidate's rate of bad outcomes may exceed the stable version's and still count "
        "as not worse.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        description="Its part of `alpha`: the parts of all signals together are the whole (Bonferroni's inequality).",
    )


class ScoreSettings(SignalSettings):
    """How a signal that scores sampled answers is tested."""

    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="By how much the candidate's mean badness (1 - score) may exceed the stable version's and still "
        "count as not worse.",
    )


class SuiteScoreSettings(ScoreSettings):
    """Sampled answers scored by rules: those scorers of a suite that need no reference."""

    file: FilePath = Field(
        description="The suite. Used are its scorers json (validity alone), regex, classification (whether it is a "
        "label), groundedness and citations (where passages were retrieved); its cases and judges are not."
    )


class JudgeSettings(Settings):
    """A judge model, and what it judges by."""

    url: str = Field(pattern=URL_PATTERN, description="Any OpenAI-compatible endpoint, without credentials in it.")
    model: str = Field(min_length=1, description="The judge, by its name there.")
    rubric: str = Field(min_length=1, description="What a good answer is, in words for the judge.")
    scale: int = Field(default=5, ge=2, le=10, description="The best grade; the worst is 1.")
    max_tokens: int = Field(default=512, ge=16, description="Length limit of a verdict, in tokens.")
    structured: bool = Field(default=True, description="Whether the judge is asked to decode by the verdict's schema.")
    api_key_env: str | None = Field(
        default=None, min_length=1, description="Environment variable with the judge's key, in the control plane."
    )
    timeout_s: float = Field(default=60.0, gt=0, description="Limit for one verdict, in seconds.")

    @field_validator("url")
    @classmethod
    def _url_holds_no_key(cls, value: str) -> str:
        if "@" in value.partition("://")[2].partition("/")[0] or "?" in value:
            raise ValueError("must hold no credentials: name an environment variable in `api_key_env`")
        return value


class JudgeScoreSettings(JudgeSettings, ScoreSettings):
    """Sampled answers graded by a judge model. It is sent prompts and answers."""

    requests_per_hour: int = Field(
        default=120,
        ge=2,
        description="Verdicts that are asked for within any hour at most, as many of either version."
        " Once they are spent the signal is silent.",
    )


class QualityScoreSettings(ScoreSettings):
    """Observed answers scored by the checks of output quality, see the section `monitoring`."""

    per_minute: int = Field(
        default=60, ge=1, description="Answers of one version that a replica scores in a minute at most."
    )


class SamplesSettings(Settings):
    """Samples of finished requests, kept with prompt and answer until they are scored."""

    share: float = Field(
        default=0.05, gt=0, le=1, description="Share of the requests of either version that are sampled, at random."
    )
    per_minute: int = Field(
        default=6, ge=1, description="Samples of one version that a replica takes in a minute at most."
    )
    max_bytes: int = Field(
        default=65_536,
        ge=256,
        description="A request whose prompt and passages are larger is not sampled, a larger answer is cut; in bytes "
        "of JSON.",
    )
    keep_minutes: float = Field(
        default=60.0, gt=0, description="After which a sample that has not been scored is deleted, in minutes."
    )
    suite: SuiteScoreSettings | None = Field(default=None, description="Score samples by rules: the signal `suite`.")
    judge: JudgeScoreSettings | None = Field(
        default=None, description="Have a judge model grade samples: the signal `judge`."
    )

    @property
    def signals(self) -> dict[str, SignalSettings]:
        """The settings of each signal that samples are taken for."""
        found: dict[str, SignalSettings | None] = {SUITE: self.suite, JUDGE: self.judge}
        return {name: settings for name, settings in found.items() if settings is not None}

    @model_validator(mode="after")
    def _something_scores_them(self) -> Self:
        if not self.signals:
            raise ValueError("nothing would score the samples; name a `suite`, a `judge`, or both")
        return self


class SignalsSettings(Settings):
    """The online signals that are watched; null leaves one out."""

    errors: SignalSettings | None = Field(
        default=SignalSettings(margin=0.01), description="Requests that failed for a reason on the server's side."
    )
    contract: SignalSettings | None = Field(
        default=SignalSettings(), description="Answers that broke the task's output contract."
    )
    refusal: SignalSettings | None = Field(default=SignalSettings(), description="Answers that begin like a refusal.")
    incomplete: SignalSettings | None = Field(
        default=SignalSettings(), description="Answers that are empty or were cut off by a token limit."
    )
    slow: SignalSettings | None = Field(
        default=SignalSettings(margin=0.05),
        description="Streams whose first token, and other answers whose end, came later than 95 % of the stable "
        "version's had when the rollout began.",
    )
    feedback: SignalSettings | None = Field(
        default=SignalSettings(margin=0.05), description="Answers that their callers judged below one half."
    )
    quality: QualityScoreSettings | None = Field(
        default=None,
        description="Scores of observed answers by the checks of `monitoring.quality`; needs that section.",
    )
    samples: SamplesSettings | None = Field(
        default=None,
        description="Scores of sampled answers. Absent: none is taken, and no prompt or answer is kept.",
    )

    @property
    def watched(self) -> dict[str, SignalSettings]:
        """The settings of each signal that is watched."""
        found = {name: getattr(self, name) for name in type(self).model_fields if name != "samples"}
        sampled: dict[str, SignalSettings] = {} if self.samples is None else self.samples.signals
        return {name: settings for name, settings in found.items() if settings is not None} | sampled

    @property
    def scored(self) -> bool:
        """Whether some signal is made of scores."""
        return self.samples is not None or self.quality is not None

    @model_validator(mode="after")
    def _some_signal_is_watched(self) -> Self:
        if not self.watched:
            raise ValueError("at least one signal must be watched")
        return self


class RolloutSettings(Settings):
    """What becomes of the versions of one adapter that a training ends in."""

    suite: FilePath | None = Field(
        default=None, description="The suite that a candidate is examined with. Absent: it is not examined."
    )
    gate: dict[str, Any] = Field(
        default_factory=dict,
        description="How the gate compares the candidate with the stable version: fields of a gate's policy.",
    )
    on_pass: Literal["candidate", "shadow", "canary", "promote"] = Field(
        default="candidate",
        description="What follows a passed gate: `candidate`, nothing; `shadow`, a copy of the traffic, then a canary; "
        "`canary`, a growing share of the callers, then promotion; `promote`, promotion at once.",
    )
    steps: Items[float] = Field(
        default=(0.05, 0.25, 0.5),
        description="Shares of the callers that the canary answers, one after the other. The last one's end promotes.",
    )
    min_requests: int = Field(
        default=200,
        ge=1,
        description="Requests that the candidate answers in a step before it may end without proof of being no worse.",
    )
    min_seconds: float = Field(
        default=0.0, ge=0, description="Time that a step takes at least where there is no such proof, in seconds."
    )
    shadow_requests: int = Field(default=200, ge=1, description="Copies that a shadow answers before the canary.")
    signals: SignalsSettings = Field(default_factory=SignalsSettings, description="The online signals.")
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Probability at most, over the whole rollout and all signals, that a version that is no worse is "
        "rolled back as worse.",
    )
    latency_requests: int = Field(
        default=100,
        ge=1,
        description="Requests of the stable version that the threshold of the signal `slow` is taken from.",
    )
    max_hours: float = Field(default=72.0, gt=0, description="How long a rollout may take, in hours.")
    at_limit: Literal["rollback", "promote", "stop"] = Field(
        default="rollback",
        description="What follows when it took longer: `stop` leaves the canary as it is and the rest to people.",
    )

    @field_validator("gate")
    @classmethod
    def _gate_is_a_policy(cls, value: dict[str, Any]) -> dict[str, Any]:
        from training.gating.policy import GatePolicy

        GatePolicy.model_validate(value)
        return value

    @field_validator("steps")
    @classmethod
    def _steps_grow(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value:
            raise ValueError("needs at least one share")
        if any(not 0 < share < 1 for share in value):
            raise ValueError("every share must be above 0 and below 1: the stable version is what it is compared with")
        if list(value) != sorted(set(value)):
            raise ValueError("every share must be larger than the one before")
        return value


class LifeSettings(Settings):
    """The life of versions: examinations and automatic rollouts, in the control plane."""

    check_interval_s: float = Field(
        default=1.0, gt=0, description="How often the signals of a rollout are looked at, in seconds."
    )
    flush_interval_s: float = Field(
        default=0.5,
        gt=0,
        description="How often a replica writes what it counted and which answers it gave, in seconds.",
    )
    gateway_url: str | None = Field(
        default=None,
        pattern=URL_PATTERN,
        description="Where examinations reach this gateway. Absent: `server.port` on this machine.",
    )
    api_key_env: str = Field(
        default="LORAPLEX_API_KEY",
        min_length=1,
        description="Environment variable with the key that examinations call the gateway with.",
    )
    folder: FilePath = Field(
        default=Path(".loraplex/life"), description="Where examinations keep what they have found so far."
    )
    examination_timeout_s: float = Field(default=4 * 3600.0, gt=0, description="Limit for one examination, in seconds.")


class FeedbackSettings(Settings):
    """What callers say of answers, through `/v1/feedback`."""

    enabled: bool = Field(
        default=True,
        description="Whether answers of adapters are remembered (ids, caller, task and version; no text), so that "
        "their callers can judge them.",
    )
    keep_days: float = Field(default=30.0, gt=0, description="How long answers are remembered, in days.")
    keep_requests: int = Field(default=1_000_000, ge=1, description="How many answers are remembered.")
    max_comment_chars: int = Field(default=2000, ge=0, description="Longest comment, in characters.")
