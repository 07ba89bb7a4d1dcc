"""What the admin API takes and gives of drift and output quality, documented by its models."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from serving.observing.desk import TaskReport
from serving.observing.records import Reference


class ReferenceBody(BaseModel):
    """What a task's live requests are to be compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str | None = Field(
        default=None,
        description="The version whose training data is the reference, `triage@3f9a1c2e`; null: the task's requests of "
        "late.",
        min_length=1,
        max_length=128,
    )


class ReferenceView(BaseModel):
    """A reference that somebody asked for."""

    model_config = ConfigDict(frozen=True)

    object: Literal["monitoring.reference"] = "monitoring.reference"
    id: int
    task: str
    version: str | None = Field(description="Whose training data it is; null for requests of late.")
    asked_by: str
    asked_at: datetime
    state: str = Field(description="`waiting`, `done` or `failed`.")
    detail: str = Field(description="What was done, or why it was not.")

    @classmethod
    def of(cls, reference: Reference) -> Self:
        """The view of a reference."""
        return cls(
            id=reference.id,
            task=reference.task,
            version=reference.version,
            asked_by=reference.actor,
            asked_at=reference.at,
            state=reference.state,
            detail=reference.detail,
        )


class SignalView(BaseModel):
    """What one signal of drift said when it was last looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    statistic: float
    p_value: float
    effect: float = Field(description="How large the change is, from 0 to 1.")
    detected: bool
    since: float | None = Field(description="When it was first detected, Unix seconds; null where it is not.")
    alpha: float = Field(description="The level it was tested at; 0 where it was not.")
    reference_n: int
    live_n: int
    note: str


class WindowView(BaseModel):
    """One side of the comparison."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: int = Field(description="Requests that are kept.")
    seen: int = Field(description="Requests that they were drawn from.")
    first_at: float | None = Field(description="Unix seconds; null for an empty window and for training data.")
    last_at: float | None
    sampling_error: float = Field(
        description="A share among the rows is within this of the share among the requests, with 95 % confidence."
    )


class UnusualView(BaseModel):
    """A live prompt that a person should see."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    place: int = Field(description="Its number among the requests in the windows.")
    at: float = Field(description="Unix seconds.")
    distance: float = Field(description="From the reference: cosine distance, from 0 to 2.")
    language: str
    adapter: str
    text: str | None = Field(description="The prompt's beginning, where the configuration keeps texts; else null.")


class DriftView(BaseModel):
    """A task's live requests against its reference."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    frozen: bool = Field(description="Whether there is a reference; while it is gathered nothing is compared.")
    reference: WindowView
    reference_of: str | None = Field(description="The version whose training data is the reference; null: requests.")
    live: WindowView | None
    window: int = Field(description="Number of the live window, from 1.")
    window_alpha: float = Field(description="Probability of a false alarm in one live window, over all signals.")
    signals: list[SignalView]
    unusual: list[UnusualView]
    grown: list[UnusualView] = Field(description="Prompts of the neighbourhood that has grown most, if one has.")
    map: list[list[float | bool | int]] = Field(
        description="Prompts on the plane in which the reference varies most: x, y, whether live, place, whether "
        "unusual."
    )
    note: str


class PartView(BaseModel):
    """What one check says of a version; 1 is good."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    value: float
    interval: list[float]
    verdicts: int
    weight: float = Field(description="What share of its worth an answer loses that is wholly bad by it.")


class DifferenceView(BaseModel):
    """One version's quality minus that of the task's stable version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    value: float = Field(description="Over the checks that judged both; below 0 it is worse.")
    interval: list[float] = Field(description="With 95 % confidence, looked at once.")
    worst: str | None = Field(description="The check that costs it most, where it is worse by more than chance.")


class QualityView(BaseModel):
    """A version's output quality of late; 1 is good."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    score: float | None = Field(description="Null before there are enough answers.")
    interval: list[float] | None
    requests: int
    updated_at: float = Field(description="Unix seconds.")
    parts: dict[str, PartView]
    beside_stable: DifferenceView | None = Field(
        description="Against the task's stable version; null for that one, and before both have a score."
    )


class TaskMonitoringView(BaseModel):
    """How one task stands."""

    model_config = ConfigDict(frozen=True)

    object: Literal["monitoring.task"] = "monitoring.task"
    task: str
    at: datetime | None = Field(description="When this was found; null where nothing is known yet.")
    drift: DriftView | None
    quality: dict[str, QualityView] = Field(description="By version.")
    references: list[ReferenceView] = Field(description="Those that somebody asked for, newest first.")

    @classmethod
    def of(cls, report: TaskReport) -> Self:
        """The view of a report."""
        data: dict[str, Any] = {"drift": report.drift, "quality": report.quality}
        references = [ReferenceView.of(reference) for reference in report.references]
        return cls.model_validate({"task": report.task, "at": report.at, "references": references, **data})


class MonitoringView(BaseModel):
    """How all tasks stand."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[TaskMonitoringView]
