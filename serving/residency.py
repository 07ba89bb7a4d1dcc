"""The replica's side of the adapter lifecycle: follow the desired state, hold what it asks for, say what is held."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable, LoadFailed
from adapters.pool import AdapterPool
from adapters.store import DiskCache
from adapters.types import AdapterVersion, CatalogSnapshot, HoldingStatus, ReplicaReport, Tier
from monitoring.metrics import GatewayMetrics
from serving.account import PoolRecorder, account, decisions, refuse_adapter_tasks, swaps
from serving.config import GatewayConfig
from serving.desired import desired
from serving.engine.protocol import Engine, EngineError, EngineInfo
from serving.errors import ConfigInvalid, NotReady
from serving.loading import AdapterLoader, Load
from serving.waiting import happens_within

logger = logging.getLogger(__name__)

ACCOUNT_AFTER_S = 15.0
"""How old the engine's own account may get while nothing changes, in seconds.

Asking costs: vLLM's workers spin for a second after every call, so asking every second keeps a core busy for ever.
"""

HEARTBEAT_S = 1.0
"""Longest time between two reports, in seconds."""

SWEEP_AFTER_S = 60.0
"""How long a version without a role may stay idle in the engine, in seconds."""

_REPORT_GAP_S = 0.05
"""Shortest time between two reports, in seconds: changes that come together are told together."""

T = TypeVar("T")


class ReplicaResidency:
    """What one replica holds.

    ``snapshot`` is the desired state that this replica serves by. The request path reads it, then calls
    :meth:`acquire` and :meth:`release` around a generation; neither touches the database.
    """

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        cache: DiskCache,
        engine: Engine,
        metrics: GatewayMetrics,
        replica: str,
        *,
        address: str | None = None,
        sweep_after_s: float = SWEEP_AFTER_S,
        account_after_s: float = ACCOUNT_AFTER_S,
    ) -> None:
        self.snapshot = CatalogSnapshot(revision=-1, versions={}, aliases={})
        self.replica = replica
        self.address = address
        """Where other replicas reach this one, as its reports say; None where there is nothing to reach."""
        self.catalog_error: str | None = None
        """Why the catalog cannot be read now; None while it can."""
        self._config = config
        self._catalog = catalog
        self._engine = engine
        self._metrics = metrics
        self._sweep_after_s = sweep_after_s
        self._account_after_s = account_after_s
        self._engine_holds: dict[str, Tier] = {}
        self._asked_at: float | None = None
        self._loader = AdapterLoader(engine, cache, self._find, config.adapters.load_timeout_s)
        self._pool: AdapterPool | None = None
        self._capacity = 0
        self._desired = desired(self.snapshot, config, 0)
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._owed: set[str] = set()
        self._pinned: set[str] = set()
        self._idle_since: dict[str, float] = {}
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="catalog")

    # What the request path uses

    def acquire(self, version: str, timeout_s: float) -> Awaitable[None]:
        """Keep ``version`` in the engine until :meth:`release`; immediate when it is there already.

        Raises:
            NotReady: the engine has not started.
            VersionNotFound, AdapterRejected, LoadFailed, ArtifactCorrupt, EngineUnavailable: it cannot be loaded.
            PoolSaturated: no place came free within ``timeout_s``.
        """
        return self._require_pool().acquire(version, timeout_s)

    def release(self, version: str) -> None:
        """Give back what :meth:`acquire` granted."""
        self._require_pool().release(version)

    def last_load(self, version: str) -> Load | None:
        """How ``version`` came to be here; None where it is not."""
        return self._loader.loads.get(version)

    # What the gateway uses

    @property
    def settled(self) -> bool:
        """Whether everything that must be resident has been, once: the replica is ready."""
        return self._settled.is_set()

    async def until_settled(self) -> None:
        """Wait for :attr:`settled`."""
        await self._settled.wait()

    def must_be_resident(self) -> set[str]:
        """The versions that this replica loads ahead of requests."""
        return set(self._desired.wanted)

    def waiting_for(self) -> str:
        """What keeps the replica from being settled, in words; empty when nothing does."""
        if self.settled:
            return ""
        if self.snapshot.revision < 0:
            return self.catalog_error or "reading the adapter catalog"
        missing = [f"`{name}` is not in the catalog yet" for name in self._desired.absent]
        held = self._ready_versions()
        for version in self._desired.required:
            failure = self._loader.failures.get(version)
            if version not in held:
                missing.append(f"`{version}` is loading" if failure is None else str(failure.error))
        return "waiting for adapters: " + "; ".join(missing) if missing else "loading adapters"

    async def start(self, info: EngineInfo) -> None:
        """Begin to follow the catalog, for an engine that has started and said ``info``.

        Returns once the desired state was read, or could not be read; loading goes on in the background.

        Raises:
            ConfigInvalid: the engine cannot hold what the configuration and the pins demand.
        """
        capacity = info.adapters
        if capacity is None:
            refuse_adapter_tasks(self._config)
        else:
            self._capacity = capacity.cpu_slots
            observer = PoolRecorder(self._loader, self._metrics, self._changed)
            self._pool = AdapterPool(self._loader.load, self._loader.unload, self._capacity, observer=observer)
        await self._sync()
        if self._desired.excess_pins:
            raise ConfigInvalid(self._excess_pins_message())
        self._tasks = [
            asyncio.create_task(self._follow(), name="adapters-follow"),
            asyncio.create_task(self._keep_reporting(), name="adapters-report"),
        ]

    async def stop(self) -> None:
        """Stop following and reporting. What is loaded stays in the engine, which is stopped next."""
        tasks = [*self._tasks, *self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        with contextlib.suppress(CatalogUnavailable):
            await self._in_thread(lambda: self._catalog.forget(self.replica))
        if self._pool is not None:
            await self._pool.close()
        self._loader.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Following the desired state

    async def _follow(self) -> None:
        while True:
            await happens_within(self._wake, self._config.adapters.sync_interval_s)
            self._wake.clear()
            try:
                await self._sync()
            except Exception:
                logger.exception("reconciling adapters failed; trying again")

    async def _sync(self) -> None:
        try:
            revision = await self._in_thread(self._catalog.revision)
            if revision != self.snapshot.revision:
                self._adopt(await self._in_thread(self._catalog.snapshot))
        except CatalogUnavailable as error:
            self._catalog_lost(error)
        else:
            self._catalog_found()
        self._reconcile()

    def _adopt(self, snapshot: CatalogSnapshot) -> None:
        """Serve by ``snapshot`` from now on."""
        before, old = self._desired, self.snapshot
        self.snapshot = snapshot
        self._desired = now = desired(snapshot, self._config, self._capacity)
        if old.revision >= 0:
            for alias, action in swaps(old, snapshot):
                self._metrics.adapter_swapped(alias, action)
            for alias, decision in decisions(old, snapshot):
                self._metrics.rollout_decided(alias, decision)
        self._metrics.set_rollouts(snapshot.rollouts.values())
        if now.excess_pins:
            logger.error("%s", self._excess_pins_message())
        for version in snapshot.staged:
            # A rollout that asks again gets a new attempt, not the memory of the last one.
            self._loader.failures.forget(version)
        self._owed = {*self._owed, *snapshot.staged, *(set(now.wanted) - set(before.wanted))} & set(now.wanted)
        if self._pool is not None:
            self._set_pins(self._pool)
            for version in before.in_role - now.in_role:
                self._pool.retire(version)
        self._dirty.set()

    def _reconcile(self) -> None:
        ready = self._ready_versions()
        if self._pool is not None:
            self._set_pins(self._pool)
            self._load_wanted(self._pool, ready)
            self._sweep(self._pool)
        self._check_settled(ready)

    def _set_pins(self, pool: AdapterPool) -> None:
        """Operators' pins, and what a rollout is waiting for, must not be evicted."""
        pins = {*self.snapshot.pins, *self.snapshot.staged} & set(self._desired.wanted)
        for version in pins - self._pinned:
            pool.pin(version)
        for version in self._pinned - pins:
            pool.unpin(version)
        self._pinned = pins

    def _load_wanted(self, pool: AdapterPool, ready: frozenset[str]) -> None:
        """Load what is newly wanted, and as much of the rest as there is free room for.

        What requests have evicted since is not loaded again ahead of a request: the two would evict each other
        for ever.
        """
        self._owed -= ready
        room = self._capacity - len({holding.version for holding in pool.holdings()} | self._loading.keys())
        for version in self._desired.wanted:
            failure = self._loader.failures.get(version)
            if version in ready or version in self._loading or (failure is not None and not failure.due):
                continue
            if version in self._owed or room > 0:
                room -= 1
                self._loading[version] = asyncio.create_task(self._bring(pool, version), name=f"load {version}")

    async def _bring(self, pool: AdapterPool, version: str) -> None:
        known = self._loader.failures.get(version)
        try:
            await pool.preload(version, self._config.adapters.load_timeout_s)
        except Exception as error:
            if self._loader.failures.get(version) is known:
                self._loader.failures.record(version, error)
            logger.warning("%s is not loaded: %s", version, error)
        finally:
            del self._loading[version]
            self._changed()

    def _sweep(self, pool: AdapterPool) -> None:
        """Retire what has no role and has been idle: versions that were addressed by their full names."""
        now = time.monotonic()
        idle = {
            holding.version
            for holding in pool.holdings()
            if holding.version not in self._desired.in_role
            and holding.status is HoldingStatus.READY
            and not holding.in_flight
        }
        self._idle_since = {version: self._idle_since.get(version, now) for version in idle}
        for version, since in self._idle_since.items():
            if now - since >= self._sweep_after_s or version not in self.snapshot.versions:
                pool.retire(version)

    def _check_settled(self, ready: frozenset[str]) -> None:
        if self.settled or self.snapshot.revision < 0 or self._desired.absent:
            return
        pending = {version for version in self._owed if self._loader.failures.get(version) is None}
        if not pending and ready.issuperset(self._desired.required):
            self._settled.set()
            self._dirty.set()

    # Saying what is held

    async def _keep_reporting(self) -> None:
        while True:
            changed = self._dirty.is_set()
            self._dirty.clear()
            try:
                await self._report(changed)
            except CatalogUnavailable as error:
                self._catalog_lost(error)
            except Exception:
                logger.exception("reporting adapters failed; trying again")
            await asyncio.sleep(_REPORT_GAP_S)
            await happens_within(self._dirty, HEARTBEAT_S - _REPORT_GAP_S)

    async def _ask_engine(self, changed: bool) -> bool:  # noqa: FBT001
        """Have an account of the engine that is recent, or newer than what ``changed``. False if it does not live."""
        now = time.monotonic()
        try:
            await self._engine.check_health()
            if changed or self._asked_at is None or now - self._asked_at >= self._account_after_s:
                self._engine_holds = {adapter.name: adapter.tier for adapter in await self._engine.resident()}
                self._asked_at = now
        except EngineError:
            self._engine_holds, self._asked_at = {}, None
            return False
        return True

    async def _report(self, changed: bool) -> None:  # noqa: FBT001
        revision = self.snapshot.revision
        ready = self._ready_versions()
        asked_at = self._asked_at
        alive = await self._ask_engine(changed)
        engine_holds = self._engine_holds
        # Only a new account can tell of a loss: an old one does not know what was loaded since.
        if alive and self._pool is not None and self._asked_at != asked_at:
            self._mend(self._pool, ready - engine_holds.keys())
        holdings = account(
            () if self._pool is None else self._pool.holdings(),
            engine_holds,
            self._loader,
            in_role=self._desired.in_role,
            loading=self._loading.keys(),
            pins=self.snapshot.pins,
        )
        self._metrics.set_residency(holdings)
        self._metrics.forget_idle({*self._desired.in_role, *(holding.version for holding in holdings)})
        report = ReplicaReport(self.replica, revision, self.settled and alive, holdings, self.address)
        await self._in_thread(lambda: self._catalog.report(report))

    def _mend(self, pool: AdapterPool, lost: Iterable[str]) -> None:
        """Load again what the engine no longer holds although nobody unloaded it: a remote engine has restarted."""
        for version in self._ready_versions().intersection(lost):
            logger.warning("%s vanished from the engine; loading it again", version)
            pool.unpin(version)
            self._pinned.discard(version)
            pool.retire(version)
            self._owed.add(version)

    # Small things

    def _find(self, version: str) -> AdapterVersion | None:
        return self.snapshot.versions.get(version)

    def _require_pool(self) -> AdapterPool:
        if self._pool is not None:
            return self._pool
        if self._tasks:
            raise LoadFailed("this engine does not load adapters")
        raise NotReady("the engine is starting")

    def _ready_versions(self) -> frozenset[str]:
        if self._pool is None:
            return frozenset()
        return frozenset(held.version for held in self._pool.holdings() if held.status is HoldingStatus.READY)

    def _changed(self) -> None:
        self._wake.set()
        self._dirty.set()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _catalog_lost(self, error: CatalogUnavailable) -> None:
        if self.catalog_error is None:
            logger.error("the adapter catalog cannot be reached, serving by its last known state: %s", error)
        self.catalog_error = str(error)
        self._metrics.set_catalog_reachable(reachable=False)

    def _catalog_found(self) -> None:
        if self.catalog_error is not None:
            logger.info("the adapter catalog can be reached again")
        self.catalog_error = None
        self._metrics.set_catalog_reachable(reachable=True)

    def _excess_pins_message(self) -> str:
        pins = self._capacity + self._desired.excess_pins
        return (
            f"{pins} adapter versions are pinned, but the engine holds {self._capacity}: "
            "raise `adapters.cpu_slots`, or unpin some"
        )
