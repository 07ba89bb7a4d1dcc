"""What a replica should hold: a pure reading of the desired state."""

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.types import Alias, CatalogSnapshot
from serving.config import GatewayConfig


@dataclass(frozen=True, slots=True)
class Desired:
    """The versions that one replica should hold at one revision."""

    wanted: tuple[str, ...]
    """Versions to load ahead of requests, most important first, no more than there is room for."""
    required: tuple[str, ...]
    """Those of ``wanted`` that a starting replica must hold before it is ready: pins and the tasks' stable versions."""
    in_role: frozenset[str]
    """Every version that a pin, a staged rollout or an alias names, whether there is room for it or not."""
    absent: tuple[str, ...]
    """Adapters that the configuration preloads and that have no stable version yet."""
    excess_pins: int
    """How many pins there is no room for."""


def desired(snapshot: CatalogSnapshot, config: GatewayConfig, capacity: int) -> Desired:
    """What a replica with room for ``capacity`` versions should hold.

    Pins come first, then what a rollout is waiting for, then every task's alias, then the other aliases' stable
    versions. Versions that the catalog does not know are left out.
    """
    pins = sorted(snapshot.pins)
    tasks = [alias for alias in map(snapshot.aliases.get, _task_aliases(config)) if alias is not None]
    others = [alias for name, alias in sorted(snapshot.aliases.items()) if alias not in tasks]
    order = [*pins, *sorted(snapshot.staged), *_versions(tasks), *(alias.stable for alias in others if alias.stable)]
    known = [version for version in dict.fromkeys(order) if version in snapshot.versions]
    wanted = tuple(known[:capacity])
    needed = {*pins, *(alias.stable for alias in tasks if alias.stable)}
    return Desired(
        wanted=wanted,
        required=tuple(version for version in wanted if version in needed),
        in_role=frozenset({*order, *_versions(snapshot.aliases.values())} & snapshot.versions.keys()),
        absent=tuple(name for name in _preloaded(config) if not _has_stable(snapshot, name)),
        excess_pins=max(0, len(snapshot.pins & snapshot.versions.keys()) - capacity),
    )


def _task_aliases(config: GatewayConfig) -> list[str]:
    return list(dict.fromkeys(task.adapter for task in config.tasks.values() if task.adapter is not None))


def _preloaded(config: GatewayConfig) -> list[str]:
    return [source.name for source in config.adapters.preload] if config.adapters.enabled else []


def _has_stable(snapshot: CatalogSnapshot, name: str) -> bool:
    alias = snapshot.aliases.get(name)
    return alias is not None and alias.stable is not None


def _versions(aliases: Iterable[Alias]) -> list[str]:
    return [version for alias in aliases for version in alias.versions]
