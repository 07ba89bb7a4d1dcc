"""What a replica says of the adapters it holds, and counts of what happened to them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from adapters.pool import PoolHolding
from adapters.types import Alias, CatalogSnapshot, Holding, HoldingStatus, Tier
from monitoring.metrics import GatewayMetrics
from serving.config import GatewayConfig
from serving.errors import ConfigInvalid, answer_for
from serving.loading import AdapterLoader

NOT_PROBED = "not_probed"
"""``error_code`` of a version that is ready although the engine could not be probed."""


def account(
    held: Iterable[PoolHolding],
    engine_holds: Mapping[str, Tier],
    loader: AdapterLoader,
    *,
    in_role: Collection[str],
    loading: Collection[str],
    pins: Collection[str],
) -> tuple[Holding, ...]:
    """Every version that is held, on its way or refused. What is held, and where, is the engine's own account."""
    known: dict[str, Holding] = {}
    for place in held:
        version, status = place.version, place.status
        if status is HoldingStatus.READY and version not in engine_holds:
            status = HoldingStatus.LOADING
        note = loader.unproved.get(version) if status is HoldingStatus.READY else None
        known[version] = Holding(
            version=version,
            status=status,
            tier=engine_holds.get(version, loader.origin(version)),
            pinned=version in pins,
            in_flight=place.in_flight,
            error=note,
            error_code=NOT_PROBED if note else None,
        )
    for version in in_role:
        failure = loader.failures.get(version)
        if version in known:
            continue
        if version in loading:
            known[version] = Holding(version, HoldingStatus.LOADING, loader.origin(version), version in pins)
        elif failure is not None:
            known[version] = Holding(
                version=version,
                status=HoldingStatus.FAILED,
                tier=loader.origin(version),
                pinned=version in pins,
                error=str(failure.error),
                error_code=answer_for(failure.error).code,
            )
    return tuple(known.values())


class PoolRecorder:
    """Passes what the pool does on to the metrics and to the next report."""

    def __init__(self, loader: AdapterLoader, metrics: GatewayMetrics, changed: Callable[[], None]) -> None:
        self._loader = loader
        self._metrics = metrics
        self._changed = changed

    def loaded(self, version: str, seconds: float) -> None:
        """A version became ready."""
        self._metrics.adapter_loaded(version, self._loader.origin(version), seconds)
        self._changed()

    def load_failed(self, version: str, error: BaseException) -> None:
        """A version could not be loaded."""
        self._metrics.adapter_load_failed(version, answer_for(error).code)
        self._changed()

    def unloaded(self, version: str, reason: str) -> None:
        """A version left the engine."""
        self._metrics.adapter_unloaded(version, reason)
        self._changed()


def swaps(before: CatalogSnapshot, after: CatalogSnapshot) -> Iterator[tuple[str, str]]:
    """The aliases that point at something else in ``after``, each with the kind of rollout that did it."""
    for name, alias in after.aliases.items():
        action = _swap(before.aliases.get(name) or Alias(name), alias)
        if action is not None:
            yield name, action


def decisions(before: CatalogSnapshot, after: CatalogSnapshot) -> Iterator[tuple[str, str]]:
    """What automatic rollouts have done since ``before``: alias, and the phase that was entered, or ``step``."""
    for alias, mark in after.rollouts.items():
        old = before.rollouts.get(alias)
        if old is None or (old.id, old.phase) != (mark.id, mark.phase):
            yield alias, mark.phase.value
        elif old.share != mark.share:
            yield alias, "step"


def refuse_adapter_tasks(config: GatewayConfig) -> None:
    """Raises ConfigInvalid if the configuration needs adapters, which the engine turned out not to load."""
    tasks = [name for name, task in config.tasks.items() if task.adapter is not None]
    if tasks:
        raise ConfigInvalid(f"task `{tasks[0]}` uses an adapter, but this engine does not load adapters")
    if config.adapters.enabled and config.adapters.preload:
        raise ConfigInvalid("`adapters.preload` lists adapters, but this engine does not load adapters")


def _swap(before: Alias, after: Alias) -> str | None:
    """What kind of rollout made ``after`` of ``before``."""
    if after.stable != before.stable:
        return "rollback" if after.stable is not None and after.stable == before.previous else "promote"
    if (after.canary, after.canary_share) != (before.canary, before.canary_share):
        return "canary"
    return "shadow" if after.shadow != before.shadow else None
