"""What a task promises: service level objectives, from which error budgets and alerts are made."""

from typing import Self

from pydantic import Field, model_validator

from serving.settings.base import Settings


class LatencyObjective(Settings):
    """A latency that most answers keep to."""

    threshold_s: float = Field(gt=0, description="The longest that a good answer takes, in seconds.")
    target: float = Field(default=0.95, gt=0, lt=1, description="Share of the answers that are to be good.")


class SloSettings(Settings):
    """Service level objectives of a task, over 30 days. `loraplex dashboards build --config` makes alerts of them."""

    availability: float | None = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="Share of the requests that are to be answered: not refused for load, not failed, not timed out. "
        "Faulty requests and callers who went away do not count. null: no such objective.",
    )
    ttft: LatencyObjective | None = Field(
        default=None, description="From the arrival of a request to the first token of its streamed answer."
    )
    duration: LatencyObjective | None = Field(
        default=None, description="From the arrival of a request to the end of its answer."
    )
    min_requests: int = Field(
        default=10,
        ge=0,
        description="Requests in an alert's long window below which it keeps quiet: of three requests at night, one "
        "failure is no outage.",
    )

    @model_validator(mode="after")
    def _promises_something(self) -> Self:
        if self.availability is None and self.ttft is None and self.duration is None:
            raise ValueError("promises nothing; give it `availability`, `ttft` or `duration`, or remove it")
        return self
