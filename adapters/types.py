"""The values that the catalog, the pool and the gateway exchange. Pure data, no framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from adapters.rollout_types import RolloutMark

DIGEST_LENGTH = 8
"""Hex digits of the digest that appear in a version's name."""


def version_name(adapter: str, digest: str) -> str:
    """``triage@3f9a1c2e``: the adapter's name and the head of its content digest."""
    return f"{adapter}@{digest[:DIGEST_LENGTH]}"


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """One immutable set of LoRA weights, named by its content."""

    name: str
    """Public name and name in the engine, such as ``triage@3f9a1c2e``."""
    adapter: str
    """The name before the ``@``; also the alias that it belongs to."""
    digest: str
    """SHA-256 over the adapter's files, 64 hex digits."""
    base_model: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    size_bytes: int
    source: str
    created_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What its maker recorded beside it (recipe, metrics, data digest)."""


class Role(StrEnum):
    """How a version came to answer a request."""

    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"
    EXACT = "exact"
    """Addressed by its full name."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that clients use, and the versions behind it."""

    name: str
    stable: str | None = None
    canary: str | None = None
    canary_share: float = 0.0
    """Share of callers, in [0, 1], that the canary answers."""
    shadow: str | None = None
    """Gets a copy of the traffic; its answers are measured and dropped."""
    previous: str | None = None
    """What ``rollback`` returns to."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that this alias may need in the engine, most important first."""
        return tuple(name for name in (self.stable, self.canary, self.shadow) if name)


class Tier(StrEnum):
    """Where a replica holds a version, fastest first."""

    SLOT = "slot"
    """In an engine slot: the next request runs at once."""
    CPU = "cpu"
    """In the engine's CPU cache: copied into a slot on use."""
    DISK = "disk"
    """On the replica's disk."""
    STORE = "store"
    """Only in the artifact store."""


class HoldingStatus(StrEnum):
    """What a replica says about a version."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Holding:
    """One replica's account of one version, as its engine tells it."""

    version: str
    status: HoldingStatus
    tier: Tier
    pinned: bool = False
    in_flight: int = 0
    error: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class PoolHolding:
    """One version that takes up a place in a slot pool."""

    version: str
    status: HoldingStatus
    """LOADING, READY, or DRAINING (retired: it unloads with its last request)."""
    in_flight: int
    """Leases that are out."""
    pinned: bool


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica last said of itself."""

    replica: str
    revision: int
    """The catalog revision that it serves by."""
    ready: bool
    holdings: tuple[Holding, ...]
    address: str | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The desired state at one revision. Immutable: the request path reads it without a lock."""

    revision: int
    versions: Mapping[str, AdapterVersion]
    aliases: Mapping[str, Alias]
    pins: frozenset[str] = frozenset()
    staged: frozenset[str] = frozenset()
    """Versions that a rollout wants loaded and probed before it flips an alias."""
    rollouts: Mapping[str, RolloutMark] = field(default_factory=dict)
    """The last automatic rollout of each alias that ever had one, in progress or ended."""
    watched: Mapping[str, RolloutMark] = field(init=False, default_factory=dict)
    """The rollouts in which requests are counted, by both of their versions."""

    def __post_init__(self) -> None:
        marks = [mark for mark in self.rollouts.values() if mark.phase.watched]
        watched = {version: mark for mark in marks for version in (mark.candidate, mark.stable) if version}
        object.__setattr__(self, "watched", watched)


@dataclass(frozen=True, slots=True)
class AdapterEvent:
    """One line of an alias's history."""

    at: datetime
    actor: str
    action: str
    alias: str
    version: str | None
    detail: str = ""
