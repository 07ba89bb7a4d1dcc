"""Bodies and answers of ``/v1/fine_tuning/jobs``."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, StrictInt, StrictStr, model_validator

from serving.api.bodies import Body, KeptText
from serving.jobs.events_file import shown_metrics
from serving.jobs.orders import MOST
from serving.jobs.types import Checkpoint, JobEvent, JobRecord
from serving.settings.base import NAME_PATTERN

EVENT_PREFIX = "ftevent-"
CHECKPOINT_PREFIX = "ftckpt-"

_Key = Annotated[StrictStr, Field(max_length=64, pattern=r"^[^\x00]*$")]
_Value = Annotated[StrictStr, Field(max_length=512, pattern=r"^[^\x00]*$")]


def _whole(most: int) -> Any:
    def check(value: object) -> object:
        if value == "auto" or (type(value) is int and 1 <= value <= most):
            return value
        raise ValueError(f"must be `auto` or a whole number from 1 to {most}")

    return PlainValidator(check)


def _number(most: int) -> Any:
    def check(value: object) -> object:
        if value == "auto":
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
            return float(value)
        raise ValueError(f"must be `auto` or a number above 0, {most} at most")

    return PlainValidator(check)


class SupervisedHyperparameters(Body):
    """What OpenAI lets a caller choose; the recipe has the rest."""

    n_epochs: Annotated[int | str, _whole(MOST["n_epochs"])] = "auto"
    batch_size: Annotated[int | str, _whole(MOST["batch_size"])] = "auto"
    learning_rate_multiplier: Annotated[float | str, _number(10_000)] = "auto"


class DpoHyperparameters(SupervisedHyperparameters):
    """The same, and the weight of the reference model."""

    beta: Annotated[float | str, _number(MOST["beta"])] = "auto"


class SupervisedBody(Body):
    """Learning from answers."""

    hyperparameters: SupervisedHyperparameters | None = None


class DpoBody(Body):
    """Learning from preferences (Rafailov et al., 2023)."""

    hyperparameters: DpoHyperparameters | None = None


class MethodBody(Body):
    """Which method, and its hyperparameters."""

    type: Literal["supervised", "dpo"]
    supervised: SupervisedBody | None = None
    dpo: DpoBody | None = None

    @model_validator(mode="before")
    @classmethod
    def _reinforcement_is_not_served(cls, data: Any) -> Any:
        if isinstance(data, dict) and (data.get("type") == "reinforcement" or data.get("reinforcement") is not None):
            raise ValueError("reinforcement fine-tuning is not served here; use `supervised` or `dpo`")
        return data

    @model_validator(mode="after")
    def _settings_fit_the_type(self) -> "MethodBody":
        other = self.dpo if self.type == "supervised" else self.supervised
        if other is not None:
            raise ValueError(f"its settings are not those of its type, `{self.type}`")
        return self


class WandbBody(Body):
    """Read, and not used."""

    model_config = ConfigDict(extra="allow", frozen=True)

    project: StrictStr


class IntegrationBody(Body):
    """Read, and not used."""

    type: Literal["wandb"]
    wandb: WandbBody


class ExtensionBody(Body):
    """What is not in OpenAI's API."""

    adapter: StrictStr | None = Field(default=None, pattern=NAME_PATTERN)
    recipe: dict[str, Any] = Field(default_factory=dict)
    allow: list[Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]] = Field(default=[], max_length=100)


class CreateJobBody(Body):
    """What a job is created from."""

    model: StrictStr = Field(max_length=256)
    training_file: StrictStr = Field(max_length=256)
    validation_file: Annotated[StrictStr, Field(max_length=256)] | None = None
    hyperparameters: SupervisedHyperparameters | None = None
    method: MethodBody | None = None
    suffix: Annotated[KeptText, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = None
    integrations: Annotated[list[IntegrationBody], Field(max_length=5)] | None = None
    loraplex: ExtensionBody = ExtensionBody()

    @model_validator(mode="after")
    def _one_set_of_hyperparameters(self) -> "CreateJobBody":
        if self.hyperparameters is not None and self.method is not None:
            raise ValueError("give `hyperparameters` in `method` alone; beside it they are the older form of the same")
        return self

    @property
    def chosen_method(self) -> str:
        """``supervised`` or ``dpo``."""
        return self.method.type if self.method is not None else "supervised"

    @property
    def chosen_hyperparameters(self) -> dict[str, Any]:
        """By name, wherever they were given; each is a number or ``auto``."""
        if self.method is not None and self.method.type == "dpo":
            given = self.method.dpo.hyperparameters if self.method.dpo is not None else None
            return (given or DpoHyperparameters()).model_dump()
        if self.method is not None and self.method.supervised is not None:
            return (self.method.supervised.hyperparameters or SupervisedHyperparameters()).model_dump()
        return (self.hyperparameters or SupervisedHyperparameters()).model_dump()


def job_view(job: JobRecord) -> dict[str, Any]:
    """A job as OpenAI's API shows it, with ours under ``loraplex``."""
    hyperparameters = dict(job.hyperparameters)
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "error": job.error,
        "fine_tuned_model": job.version,
        "finished_at": job.finished_at,
        "hyperparameters": {name: value for name, value in hyperparameters.items() if name != "beta"},
        "model": job.model,
        "organization_id": job.owner,
        "result_files": [],
        "status": job.status.value,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "integrations": [],
        "seed": job.seed,
        "estimated_finish": job.estimated_finish,
        "method": {"type": job.method, job.method: {"hyperparameters": hyperparameters}},
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
        "loraplex": {"adapter": job.adapter, "recipe": job.recipe, "allow": job.allow},
    }


def event_view(event: JobEvent) -> dict[str, Any]:
    """An event as OpenAI's API shows it."""
    return {
        "id": f"{EVENT_PREFIX}{event.number}",
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.kind,
        "data": event.data,
    }


def checkpoint_view(job: JobRecord, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as OpenAI's API shows it. Its model can be called once it is published."""
    return {
        "id": f"{CHECKPOINT_PREFIX}{checkpoint.number}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.version or f"{job.adapter}:ckpt-step-{checkpoint.step}",
        "fine_tuning_job_id": job.id,
        "metrics": {"step": checkpoint.step, **shown_metrics(checkpoint.metrics)},
        "step_number": checkpoint.step,
    }
