"""From the name that a client asks for to what answers it. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adapters.aliases import choose
from adapters.types import AdapterVersion, Alias, CatalogSnapshot, Role
from serving.config import GatewayConfig, TaskSettings
from serving.errors import ModelNotFound, NotReady

BASE = "base"
"""What the header ``x-loraplex-adapter`` and the metrics call an answer of the base model."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What answers one request."""

    model: str
    """The name that the caller asked for."""
    label: str
    """Value of the metric label ``task``: the task, alias or base model, and for an exact version its adapter."""
    task: TaskSettings | None
    """Settings of the task, where the name is a task's."""
    version: str | None
    """The adapter version; None for the base model."""
    role: Role | None
    """How the version was chosen; None for the base model."""
    shadow: str | None = None
    """A version that gets a copy of the request."""
    fingerprint: str = ""
    """Value of ``system_fingerprint``: the version, or the base model's public name."""

    @property
    def adapter(self) -> str:
        """The version, or ``base``."""
        return self.version or BASE


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One name that clients can use, as ``/v1/models`` tells it."""

    name: str
    parent: str | None
    """The base model, for what an adapter answers."""
    root: str
    """The version that stands behind the name now, or the base model."""
    created: int | None
    """Unix time of the version behind it; None where there is no version."""
    description: str = ""


def resolve(model: str, snapshot: CatalogSnapshot, config: GatewayConfig, key: str) -> Resolution:
    """What answers ``model`` for the caller ``key``, which splits stable from canary.

    Names are looked up in this order: task, base model, alias, exact version.

    Raises:
        ModelNotFound: nothing has that name.
        NotReady: the task exists, and no version of its adapter is promoted yet.
    """
    task = config.tasks.get(model)
    if task is not None:
        return _resolve_task(model, task, snapshot, config, key)
    base = config.model.public_name
    if model == base:
        return Resolution(model, model, None, None, None, fingerprint=base)
    alias = snapshot.aliases.get(model)
    if alias is not None:
        resolution = _resolve_alias(model, None, alias, key)
        if resolution is not None:
            return resolution
    version = snapshot.versions.get(model)
    if version is not None:
        return Resolution(model, version.adapter, None, model, Role.EXACT, fingerprint=model)
    raise ModelNotFound(model)


def _resolve_task(
    model: str, task: TaskSettings, snapshot: CatalogSnapshot, config: GatewayConfig, key: str
) -> Resolution:
    if task.adapter is None:
        return Resolution(model, model, task, None, None, fingerprint=config.model.public_name)
    alias = snapshot.aliases.get(task.adapter)
    resolution = None if alias is None else _resolve_alias(model, task, alias, key)
    if resolution is None:
        raise NotReady(f"The model `{model}` is not ready: no version of its adapter `{task.adapter}` is promoted.")
    return resolution


def _resolve_alias(model: str, task: TaskSettings | None, alias: Alias, key: str) -> Resolution | None:
    chosen = choose(alias, key)
    if chosen is None:
        return None
    version, role = chosen
    shadow = alias.shadow if alias.shadow != version else None
    return Resolution(model, model, task, version, role, shadow, fingerprint=version)


def entries(snapshot: CatalogSnapshot, config: GatewayConfig, may_use: Callable[[str], bool]) -> Iterator[ModelEntry]:
    """Every name that ``may_use`` admits: tasks, the base model, aliases, exact versions."""
    base = config.model.public_name
    for name in dict.fromkeys((*config.tasks, base, *snapshot.aliases, *snapshot.versions)):
        entry = entry_for(name, snapshot, config) if may_use(name) else None
        if entry is not None:
            yield entry


def entry_for(name: str, snapshot: CatalogSnapshot, config: GatewayConfig) -> ModelEntry | None:
    """The entry of ``name``; None where it cannot answer a request."""
    base = config.model.public_name
    task = config.tasks.get(name)
    if task is not None:
        if task.adapter is None:
            return ModelEntry(name, base, base, None, task.description)
        return _alias_entry(name, snapshot.aliases.get(task.adapter), snapshot, base, task.description)
    if name == base:
        return ModelEntry(name, None, base, None)
    if name in snapshot.aliases:
        return _alias_entry(name, snapshot.aliases[name], snapshot, base, "")
    version = snapshot.versions.get(name)
    return None if version is None else ModelEntry(name, base, name, _unix(version))


def _alias_entry(
    name: str, alias: Alias | None, snapshot: CatalogSnapshot, base: str, description: str
) -> ModelEntry | None:
    if alias is None or alias.stable is None:
        return None
    stable = snapshot.versions.get(alias.stable)
    return ModelEntry(name, base, alias.stable, None if stable is None else _unix(stable), description)


def _unix(version: AdapterVersion) -> int:
    return int(version.created_at.timestamp())
