"""The whole configuration, and the checks that span its sections."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from serving.settings.adapters import AdapterSettings, ArtifactSettings, StateSettings
from serving.settings.base import NAME_PATTERN, PATTERN_HINTS, Items, Name, Settings, absolute, absolute_path
from serving.settings.engine import EngineSettings, ModelSettings, OpenAIEngineSettings, VllmEngineSettings
from serving.settings.knowledge import KnowledgeSettings
from serving.settings.life import FeedbackSettings, LifeSettings, RolloutSettings
from serving.settings.logging import AuditSettings, LoggingSettings
from serving.settings.metrics import MetricsSettings
from serving.settings.monitoring import MonitoringSettings, QualitySettings
from serving.settings.server import ApiKey, LimitSettings, ServerSettings
from serving.settings.services import ServicesSettings
from serving.settings.tasks import TaskSettings
from serving.settings.tracing import TracingSettings
from serving.settings.training import TrainingSettings

_RELATIVE_SQLITE = re.compile(r"^(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(.+)$")


class GatewayConfig(Settings):
    """A whole gateway."""

    model: ModelSettings = Field(description="The base model.")
    engine: EngineSettings = Field(default_factory=VllmEngineSettings, description="What generates.")
    server: ServerSettings = Field(default_factory=ServerSettings, description="Address and request limits.")
    services: ServicesSettings = Field(
        default_factory=ServicesSettings, description="Parts of the gateway that run as processes of their own."
    )
    replicas: int = Field(default=1, ge=1, le=1024, description="Engine replicas under Ray Serve.")
    gpus_per_replica: float = Field(
        default=0,
        ge=0,
        description="GPUs that Ray reserves for a replica. 0: none (CPU, or a remote engine).",
    )
    cpus_per_replica: float = Field(default=1, ge=0, description="CPU cores that Ray reserves for a replica.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="Admission limits.")
    adapters: AdapterSettings = Field(default_factory=AdapterSettings, description="LoRA adapters.")
    tasks: dict[Name, TaskSettings] = Field(default_factory=dict, description="Public model names, by name.")
    knowledge: KnowledgeSettings | None = Field(
        default=None, description="Files, vector stores and retrieval. Absent: none of it is served."
    )
    training: TrainingSettings | None = Field(default=None, description="Fine-tuning jobs. Absent: none are taken.")
    life: LifeSettings = Field(default_factory=LifeSettings, description="Examinations and automatic rollouts.")
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings, description="Feedback of callers.")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="What is measured, and who reads it.")
    monitoring: MonitoringSettings | None = Field(
        default=None, description="Drift and output quality. Absent: no answer is observed."
    )
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="Logs and the audit log.")
    tracing: TracingSettings = Field(default_factory=TracingSettings, description="Traces.")
    state: StateSettings = Field(default_factory=StateSettings, description="State database.")
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings, description="Artifact store.")
    api_keys: Items[ApiKey] = Field(default=(), description="Keys that callers authenticate with.")

    @property
    def authentication_required(self) -> bool:
        """Whether callers must present a key."""
        match self.server.authentication:
            case "required":
                return True
            case "off":
                return False
            case _:
                return bool(self.api_keys) or not self.server.is_loopback

    @property
    def serves_adapters(self) -> bool:
        """Whether the engine can load adapters under this configuration."""
        remote_without = isinstance(self.engine, OpenAIEngineSettings) and self.engine.adapters == "none"
        return self.adapters.enabled and not remote_without

    @property
    def max_file_bytes(self) -> int:
        """Largest file that is taken, in bytes; 0 where none are."""
        if self.knowledge is not None:
            return self.knowledge.max_file_bytes
        return 0 if self.training is None else self.training.max_file_bytes

    def with_absolute_paths(self, base: Path) -> Self:
        """The same configuration with every relative path taken from ``base``.

        So that it means the same files in every process, wherever that process runs.
        """
        preload = tuple(
            item.model_copy(update={"source": absolute(item.source, base)}) for item in self.adapters.preload
        )
        adapters = {
            "cache_dir": absolute_path(self.adapters.cache_dir, base),
            "preload": preload,
            "rollouts": {name: _absolute_suites(policy, base) for name, policy in self.adapters.rollouts.items()},
        }
        state_url = _RELATIVE_SQLITE.sub(
            lambda match: f"{match[1]}{absolute_path(Path(match[2]), base)}", self.state.url
        )
        artifacts = self.artifacts.url
        if "://" not in artifacts:
            artifacts = str(absolute_path(Path(artifacts), base))
        return self.model_copy(
            update={
                "knowledge": None if self.knowledge is None else self.knowledge.with_absolute_paths(base),
                "training": None if self.training is None else self.training.with_absolute_paths(base),
                "model": self.model.model_copy(update={"id": absolute(self.model.id, base)}),
                "adapters": self.adapters.model_copy(update=adapters),
                "state": self.state.model_copy(update={"url": state_url}),
                "life": self.life.model_copy(update={"folder": absolute_path(self.life.folder, base)}),
                "logging": self.logging.model_copy(update={"audit": _absolute_audit(self.logging.audit, base)}),
                "artifacts": self.artifacts.model_copy(update={"url": artifacts}),
                "monitoring": None if self.monitoring is None else self.monitoring.with_absolute_paths(base),
            }
        )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        problems = [
            *self._name_problems(),
            *self._adapter_problems(),
            *self._knowledge_problems(),
            *self._training_problems(),
            *self._objective_problems(),
            *self._monitoring_problems(),
            *self._authentication_problems(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _name_problems(self) -> Iterator[str]:
        base = self.model.public_name
        if not re.fullmatch(NAME_PATTERN, base):
            yield f"`model.id`: its last part is the public name, which {PATTERN_HINTS[NAME_PATTERN]}; set `model.name`"
        if base in self.tasks:
            yield f"`tasks.{base}`: has the base model's name; rename one of them"
        for index, source in enumerate(self.adapters.preload):
            if source.name == base:
                yield f"`adapters.preload[{index}].name`: `{base}` is the base model's name; rename one of them"
        for place, values in (
            ("api_keys", [key.name for key in self.api_keys]),
            ("api_keys", [key.hash for key in self.api_keys]),
            ("adapters.preload", [source.name for source in self.adapters.preload]),
        ):
            for value, count in Counter(values).items():
                if count > 1:
                    yield f"`{place}`: `{value}` appears {count} times"

    def _adapter_problems(self) -> Iterator[str]:
        if self.serves_adapters:
            if isinstance(self.engine, OpenAIEngineSettings) and self.replicas > 1:
                yield (
                    "`engine.adapters`: one server has one set of adapters, and one replica's unload would take them "
                    "from the others; set `replicas: 1`, or `engine.adapters: none`"
                )
            return
        reason = "`adapters.enabled` is false" if not self.adapters.enabled else "`engine.adapters` is `none`"
        if self.adapters.preload:
            yield f"`adapters.preload`: adapters cannot be loaded, because {reason}"
        for name, task in self.tasks.items():
            if task.adapter is not None:
                yield f"`tasks.{name}.adapter`: `{task.adapter}` cannot be loaded, because {reason}"

    def _knowledge_problems(self) -> Iterator[str]:
        for name, task in self.tasks.items():
            if task.retrieval is not None and self.knowledge is None:
                yield f"`tasks.{name}.retrieval`: there is no knowledge to search; add a section `knowledge: {{}}`"
        if self.services.knowledge is not None and self.knowledge is None:
            yield "`services.knowledge`: there is no knowledge to serve; add a section `knowledge: {}`"

    def _training_problems(self) -> Iterator[str]:
        if self.training is not None and not self.serves_adapters:
            yield "`training`: what a job makes is an adapter, and this configuration serves none"

    def _objective_problems(self) -> Iterator[str]:
        for name, task in self.tasks.items():
            if task.slo is not None and not self.metrics.enabled:
                yield f"`tasks.{name}.slo`: with `metrics.enabled: false` no request is counted"

    def _monitoring_problems(self) -> Iterator[str]:
        watched = self.monitoring is not None and self.monitoring.quality is not None
        for name, policy in self.adapters.rollouts.items():
            if policy.signals.quality is not None and not watched:
                place = f"adapters.rollouts.{name}.signals.quality"
                yield f"`{place}`: no answer is checked; add a section `monitoring: {{}}`"
        known = {*self.tasks, self.model.public_name, *self.adapters.rollouts}
        known |= {source.name for source in self.adapters.preload}
        known |= {task.adapter for task in self.tasks.values() if task.adapter is not None}
        tasks = {} if self.monitoring is None else self.monitoring.tasks
        for name, own in tasks.items():
            if name not in known:
                yield f"`monitoring.tasks.{name}`: there is no task or adapter of that name in this configuration"
            if own.quality is not None:
                yield from self._logprob_problems(f"monitoring.tasks.{name}.quality", own.quality)
        if self.monitoring is not None and self.monitoring.quality is not None:
            yield from self._logprob_problems("monitoring.quality", self.monitoring.quality)

    def _logprob_problems(self, place: str, quality: QualitySettings) -> Iterator[str]:
        """An engine refuses every request that asks for more than it gives."""
        most = self.engine.args.get("max_logprobs") if isinstance(self.engine, VllmEngineSettings) else None
        if isinstance(most, int) and 0 <= most < (quality.logprobs or 0):
            yield f"`{place}.logprobs`: the engine gives {most} at most (`engine.args.max_logprobs`)"

    def _authentication_problems(self) -> Iterator[str]:
        if self.authentication_required and not self.api_keys:
            why = (
                "`server.authentication` is `required`"
                if self.server.authentication == "required"
                else f"other machines can reach `server.host` {self.server.host}"
            )
            yield f"`api_keys`: is empty, and {why}; make a key with `loraplex keys new NAME`"
        open_to_others = not self.server.is_loopback and not self.authentication_required
        if open_to_others and not self.server.allow_unauthenticated:
            yield (
                f"`server.authentication`: is `off` while other machines can reach `server.host` {self.server.host}; "
                "set it to `required`, or set `server.allow_unauthenticated: true` if that is meant"
            )


def _absolute_audit(audit: AuditSettings, base: Path) -> AuditSettings:
    return audit.model_copy(update={"file": absolute_path(audit.file, base)})


def _absolute_suites(policy: RolloutSettings, base: Path) -> RolloutSettings:
    suite = None if policy.suite is None else absolute_path(policy.suite, base)
    signals, samples = policy.signals, policy.signals.samples
    if samples is not None and samples.suite is not None:
        scored = samples.suite.model_copy(update={"file": absolute_path(samples.suite.file, base)})
        signals = signals.model_copy(update={"samples": samples.model_copy(update={"suite": scored})})
    return policy.model_copy(update={"suite": suite, "signals": signals})
