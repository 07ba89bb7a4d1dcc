"""What the admin API takes and gives of reports and automatic rollouts, documented by its models."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from adapters.rollout_types import Report, Rollout


class RolloutBody(BaseModel):
    """An automatic rollout to begin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(description="`triage@3f9a1c2e`, or its digest alone.", min_length=1, max_length=128)
    shadow: bool = Field(default=False, description="Whether a shadow comes before the canary.")
    steps: list[float] | None = Field(
        default=None, description="Shares of the callers, growing, each in (0, 1); null: the adapter's policy."
    )
    examine: bool = Field(default=False, description="Whether the policy's suite and gate come before everything.")


class ReportView(BaseModel):
    """What somebody found out about a version."""

    model_config = ConfigDict(frozen=True)

    object: Literal["adapter.report"] = "adapter.report"
    id: int
    version: str
    kind: str = Field(description="`run`, `gate`, `rollout`, or a word of the reporter's own.")
    verdict: str | None
    summary: str
    actor: str
    at: datetime | None
    body: dict[str, Any] | None = Field(description="Everything; null where reports are listed with a version.")

    @classmethod
    def of(cls, report: Report, *, whole: bool = True) -> Self:
        """The view of a report."""
        return cls(
            id=report.id,
            version=report.version,
            kind=report.kind,
            verdict=report.verdict,
            summary=report.summary,
            actor=report.actor,
            at=report.at,
            body=dict(report.body) if whole else None,
        )


class ReportList(BaseModel):
    """A version's reports, newest first."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[ReportView]


class AutomaticRolloutView(BaseModel):
    """An automatic rollout, in progress or ended."""

    model_config = ConfigDict(frozen=True)

    object: Literal["adapter.automatic_rollout"] = "adapter.automatic_rollout"
    id: int
    alias: str
    candidate: str
    stable: str | None = Field(description="What it is compared with; null for an adapter's first version.")
    phase: str
    share: float = Field(description="Share of the callers that the candidate answers.")
    step: int = Field(description="Position of the share in the policy's `steps`, from 0.")
    reason: str = Field(description="Why it is where it is.")
    started_by: str
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    policy: dict[str, Any] = Field(description="The settings that it follows.")
    history: list[dict[str, Any]] = Field(description="Phases and steps so far, with their reasons.")

    @classmethod
    def of(cls, rollout: Rollout) -> Self:
        """The view of a rollout."""
        return cls(
            id=rollout.id,
            alias=rollout.alias,
            candidate=rollout.candidate,
            stable=rollout.stable,
            phase=rollout.phase.value,
            share=rollout.share,
            step=rollout.state.get("step", 0),
            reason=rollout.reason,
            started_by=rollout.actor,
            started_at=rollout.started_at,
            updated_at=rollout.updated_at,
            ended_at=rollout.ended_at,
            policy=dict(rollout.policy),
            history=list(rollout.state.get("history", [])),
        )
