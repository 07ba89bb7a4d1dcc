"""The desired state of all adapters beside what the live replicas say of it. Pure."""

from dataclasses import dataclass
from functools import cached_property

from adapters.types import AdapterVersion, CatalogSnapshot, Holding, ReplicaReport


@dataclass(frozen=True)
class Overview:
    """The desired state, and what the live replicas say."""

    snapshot: CatalogSnapshot
    replicas: tuple[ReplicaReport, ...]

    @cached_property
    def by_adapter(self) -> dict[str, list[AdapterVersion]]:
        """Every adapter that has a version or an alias, by name, with its versions, newest first."""
        found: dict[str, list[AdapterVersion]] = {alias: [] for alias in self.snapshot.aliases}
        for version in sorted(self.snapshot.versions.values(), key=lambda version: version.created_at, reverse=True):
            found.setdefault(version.adapter, []).append(version)
        return dict(sorted(found.items()))

    @cached_property
    def holdings(self) -> dict[str, list[tuple[str, Holding]]]:
        """What the replicas say of each version: pairs of a replica and its holding."""
        found: dict[str, list[tuple[str, Holding]]] = {}
        for report in self.replicas:
            for holding in report.holdings:
                found.setdefault(holding.version, []).append((report.replica, holding))
        return found
