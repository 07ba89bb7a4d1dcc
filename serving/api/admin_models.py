"""What the admin API takes and gives, documented by its models."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from adapters.types import AdapterEvent, AdapterVersion, Alias, Holding, ReplicaReport
from serving.api.life_models import ReportView
from serving.overview import Overview
from serving.rollout import AddResult, RolloutResult, Verification


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AddBody(_Body):
    """An adapter to add."""

    name: str = Field(description="Name of the adapter and of its alias.", min_length=1, max_length=63)
    source: str = Field(
        description="Folder on the gateway's machine, hub id or fsspec URL.", min_length=1, max_length=4096
    )
    promote: bool = Field(default=False, description="Make it the stable version at once.")


class VersionBody(_Body):
    """A version to roll out."""

    version: str = Field(description="`triage@3f9a1c2e`, or its digest alone.", min_length=1, max_length=128)


class CanaryBody(_Body):
    """A version and its share of the callers."""

    version: str | None = Field(default=None, description="Null ends the canary.", max_length=128)
    share: float = Field(default=0.0, ge=0, le=1, description="Share of the callers, in (0, 1]; 0 ends the canary.")


class ShadowBody(_Body):
    """A version that gets a copy of the traffic."""

    version: str | None = Field(description="Null ends the shadow.", max_length=128)


class RollbackBody(_Body):
    """Nothing to say."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class HoldingView(_View):
    """What one replica says of one version."""

    replica: str
    version: str
    status: Literal["loading", "ready", "draining", "failed"]
    tier: Literal["slot", "cpu", "disk", "store"]
    pinned: bool
    in_flight: int
    error: str | None
    error_code: str | None

    @classmethod
    def of(cls, replica: str, holding: Holding) -> Self:
        """The view of a holding."""
        return cls(
            replica=replica,
            version=holding.version,
            status=holding.status.value,
            tier=holding.tier.value,
            pinned=holding.pinned,
            in_flight=holding.in_flight,
            error=holding.error,
            error_code=holding.error_code,
        )


class ReplicaView(_View):
    """What one live replica says of itself."""

    replica: str
    revision: int = Field(description="The catalog revision that it serves by.")
    ready: bool
    address: str | None
    reported_at: datetime | None
    holdings: list[HoldingView]

    @classmethod
    def of(cls, report: ReplicaReport) -> Self:
        """The view of a report."""
        return cls(
            replica=report.replica,
            revision=report.revision,
            ready=report.ready,
            address=report.address,
            reported_at=report.reported_at,
            holdings=[HoldingView.of(report.replica, holding) for holding in report.holdings],
        )


class VersionView(_View):
    """One immutable adapter version, its roles, and where it is held."""

    object: Literal["adapter.version"] = "adapter.version"
    name: str
    adapter: str
    digest: str
    base_model: str
    rank: int
    alpha: float
    target_modules: list[str]
    size_bytes: int
    source: str
    created_at: datetime
    metadata: dict[str, Any] = Field(description="What its maker recorded beside it.")
    roles: list[Literal["stable", "canary", "shadow", "previous"]]
    pinned: bool
    staged: bool = Field(description="A rollout is having it loaded and probed.")
    residency: list[HoldingView]
    reports: list[ReportView] = Field(
        default=[], description="What was found out about it, newest first; only where one version is asked for."
    )

    @classmethod
    def of(cls, version: AdapterVersion, overview: Overview) -> Self:
        """The view of a version."""
        alias = overview.snapshot.aliases.get(version.adapter) or Alias(version.adapter)
        roles: dict[Literal["stable", "canary", "shadow", "previous"], str | None] = {
            "stable": alias.stable,
            "canary": alias.canary,
            "shadow": alias.shadow,
            "previous": alias.previous,
        }
        return cls(
            name=version.name,
            adapter=version.adapter,
            digest=version.digest,
            base_model=version.base_model,
            rank=version.rank,
            alpha=version.alpha,
            target_modules=list(version.target_modules),
            size_bytes=version.size_bytes,
            source=version.source,
            created_at=version.created_at,
            metadata=dict(version.metadata),
            roles=[role for role, name in roles.items() if name == version.name],
            pinned=version.name in overview.snapshot.pins,
            staged=version.name in overview.snapshot.staged,
            residency=_residency(version.name, overview),
        )


class AliasView(_View):
    """Which versions a name stands for."""

    name: str
    stable: str | None
    canary: str | None
    canary_share: float
    shadow: str | None
    previous: str | None

    @classmethod
    def of(cls, alias: Alias) -> Self:
        """The view of an alias."""
        return cls(
            name=alias.name,
            stable=alias.stable,
            canary=alias.canary,
            canary_share=alias.canary_share,
            shadow=alias.shadow,
            previous=alias.previous,
        )


class AdapterView(_View):
    """One adapter: its alias and all of its versions, newest first."""

    object: Literal["adapter"] = "adapter"
    name: str
    alias: AliasView | None = Field(description="Null until a version is promoted.")
    versions: list[VersionView]

    @classmethod
    def of(cls, name: str, overview: Overview) -> Self:
        """The view of an adapter."""
        alias = overview.snapshot.aliases.get(name)
        return cls(
            name=name,
            alias=AliasView.of(alias) if alias is not None else None,
            versions=[VersionView.of(version, overview) for version in overview.by_adapter[name]],
        )


class AdapterList(_View):
    """Every adapter, by name."""

    object: Literal["list"] = "list"
    revision: int
    data: list[AdapterView]
    replicas: list[ReplicaView]

    @classmethod
    def of(cls, overview: Overview) -> Self:
        """The view of everything."""
        return cls(
            revision=overview.snapshot.revision,
            data=[AdapterView.of(name, overview) for name in overview.by_adapter],
            replicas=[ReplicaView.of(report) for report in overview.replicas],
        )


class ReplicaList(_View):
    """The live replicas."""

    object: Literal["list"] = "list"
    data: list[ReplicaView]


class RolloutView(_View):
    """What a change came to."""

    object: Literal["rollout"] = "rollout"
    action: str
    version: str | None
    alias: AliasView | None
    revision: int = Field(description="The catalog revision that the change made.")
    replicas: list[str] = Field(description="The live replicas that serve by it.")
    seconds: float
    notes: list[str] = Field(description="What is worth knowing although the change succeeded.")

    @classmethod
    def of(cls, result: RolloutResult) -> Self:
        """The view of a result."""
        return cls(
            action=result.action,
            version=result.version,
            alias=AliasView.of(result.alias) if result.alias is not None else None,
            revision=result.revision,
            replicas=list(result.replicas),
            seconds=round(result.seconds, 3),
            notes=list(result.notes),
        )


class AddedView(_View):
    """What adding came to."""

    object: Literal["adapter.added"] = "adapter.added"
    version: VersionView
    new: bool = Field(description="False where the same content had been added before.")
    rollout: RolloutView | None

    @classmethod
    def of(cls, result: AddResult, overview: Overview) -> Self:
        """The view of a result."""
        rollout = RolloutView.of(result.rollout) if result.rollout is not None else None
        return cls(version=VersionView.of(result.version, overview), new=result.new, rollout=rollout)


class VerificationView(_View):
    """The state of a stored version."""

    object: Literal["adapter.verification"] = "adapter.verification"
    version: str
    ok: bool
    problem: str | None
    digest: str
    residency: list[HoldingView]

    @classmethod
    def of(cls, result: Verification) -> Self:
        """The view of a result."""
        return cls(
            version=result.version.name,
            ok=result.problem is None,
            problem=result.problem,
            digest=result.version.digest,
            residency=_residency(result.version.name, result.overview),
        )


class EventView(_View):
    """One line of the history."""

    at: datetime
    actor: str
    action: str
    alias: str
    version: str | None
    detail: str

    @classmethod
    def of(cls, event: AdapterEvent) -> Self:
        """The view of an event."""
        return cls(
            at=event.at,
            actor=event.actor,
            action=event.action,
            alias=event.alias,
            version=event.version,
            detail=event.detail,
        )


class EventList(_View):
    """The history, newest first."""

    object: Literal["list"] = "list"
    data: list[EventView]


def _residency(version: str, overview: Overview) -> list[HoldingView]:
    return [HoldingView.of(replica, holding) for replica, holding in overview.holdings.get(version, ())]
