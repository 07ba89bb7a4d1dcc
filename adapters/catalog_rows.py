"""Between the catalog's rows and the library's values."""

from typing import Any

from sqlalchemy import Row

from adapters.types import AdapterEvent, AdapterVersion, Alias, Holding, HoldingStatus, ReplicaReport, Tier


def version(row: Row[Any]) -> AdapterVersion:
    """A row of ``adapter_versions``."""
    values = dict(row._mapping)  # noqa: SLF001  (SQLAlchemy's documented accessor)
    return AdapterVersion(**values | {"target_modules": tuple(values["target_modules"])})


def version_values(value: AdapterVersion) -> dict[str, Any]:
    """A row for ``adapter_versions``."""
    return {
        "name": value.name,
        "adapter": value.adapter,
        "digest": value.digest,
        "base_model": value.base_model,
        "rank": value.rank,
        "alpha": value.alpha,
        "target_modules": list(value.target_modules),
        "size_bytes": value.size_bytes,
        "source": value.source,
        "created_at": value.created_at,
        "metadata": dict(value.metadata),
    }


def alias(row: Row[Any]) -> Alias:
    """A row of ``adapter_aliases``."""
    return Alias(**row._mapping)  # noqa: SLF001  (SQLAlchemy's documented accessor)


def alias_values(value: Alias) -> dict[str, Any]:
    """A row for ``adapter_aliases``."""
    return {
        "name": value.name,
        "stable": value.stable,
        "canary": value.canary,
        "canary_share": value.canary_share,
        "shadow": value.shadow,
        "previous": value.previous,
    }


def event(row: Row[Any]) -> AdapterEvent:
    """A row of ``adapter_events``."""
    return AdapterEvent(
        at=row.at, actor=row.actor, action=row.action, alias=row.alias, version=row.version, detail=row.detail
    )


def report(row: Row[Any]) -> ReplicaReport:
    """A row of ``adapter_replicas``."""
    return ReplicaReport(
        replica=row.replica,
        revision=row.revision,
        ready=row.ready,
        holdings=tuple(_holding(values) for values in row.holdings),
        address=row.address,
        reported_at=row.reported_at,
    )


def report_values(value: ReplicaReport) -> dict[str, Any]:
    """A row for ``adapter_replicas``, without its time."""
    return {
        "replica": value.replica,
        "revision": value.revision,
        "ready": value.ready,
        "address": value.address,
        "holdings": [
            {
                "version": holding.version,
                "status": holding.status.value,
                "tier": holding.tier.value,
                "pinned": holding.pinned,
                "in_flight": holding.in_flight,
                "error": holding.error,
                "error_code": holding.error_code,
            }
            for holding in value.holdings
        ],
    }


def _holding(values: dict[str, Any]) -> Holding:
    return Holding(**values | {"status": HoldingStatus(values["status"]), "tier": Tier(values["tier"])})
