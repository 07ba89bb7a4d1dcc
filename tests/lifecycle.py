"""A gateway's adapter lifecycle without HTTP: real catalog, store and caches, fake engines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from adapters.aliases import choose
from adapters.base_model import BaseModelSpec
from adapters.catalog import Catalog
from adapters.store import ArtifactStore, DiskCache
from monitoring.metrics import GatewayMetrics
from serving.config import GatewayConfig, parse_config
from serving.engine.fake import FakeEngine
from serving.engine.protocol import AdapterCapacity, Endpoint, EngineRequest
from serving.life.controller import LifeController
from serving.life.protocol import Examination, Finding
from serving.residency import ReplicaResidency
from serving.rollout import Rollouts
from tests.adapter_factory import BASE_NAME, make_adapter, make_base

PATIENCE_S = 20.0
"""Bound of every wait, in seconds."""


class Passing:
    """An examiner that passes everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Examination] = []

    async def examine(self, examination: Examination) -> Finding:
        """Passed."""
        self.asked.append(examination)
        return Finding(passed=True, reason="passed the gate", reports=())


@dataclass
class Replica:
    """One fake engine and its residency."""

    name: str
    engine: FakeEngine
    residency: ReplicaResidency
    registry: CollectorRegistry

    async def ask(self, alias: str, key: str = "somebody") -> tuple[str, str]:
        """Send one request as the gateway does: the version that was chosen, and the one that answered."""
        chosen = choose(self.residency.snapshot.aliases[alias], key)
        assert chosen is not None
        version, _ = chosen
        return version, await self.ask_version(version)

    async def ask_version(self, version: str) -> str:
        """Send one request to an exact version; the name of what answered."""
        await self.residency.acquire(version, PATIENCE_S)
        try:
            body = {"prompt": "hello", "max_tokens": 4}
            answer = await self.engine.complete(EngineRequest(Endpoint.COMPLETIONS, body, "test", adapter=version))
        finally:
            self.residency.release(version)
        return str(answer["model"])

    async def held(self) -> set[str]:
        """What the engine says it holds."""
        return {adapter.name for adapter in await self.engine.resident()}

    def metric(self, name: str, **labels: str) -> float:
        """One sample of the replica's metrics; 0 where there is none."""
        return self.registry.get_sample_value(name, {"replica": self.name, **labels}) or 0.0


@dataclass
class World:
    """A catalog, a store, the rollouts, and any number of replicas."""

    folder: Path
    config: GatewayConfig
    catalog: Catalog
    store: ArtifactStore
    rollouts: Rollouts
    life: LifeController
    """Not started."""
    replicas: list[Replica] = field(default_factory=list)

    def source(self, name: str, seed: int = 0, **options: Any) -> str:
        """The folder of an adapter; another seed is another version."""
        return str(make_adapter(self.folder / "sources" / f"{name}-{seed}", self.base, seed=seed, **options))

    @property
    def base(self) -> Path:
        """The base checkpoint."""
        return self.folder / BASE_NAME

    async def add(self, name: str, seed: int = 0, *, promote: bool = False) -> str:
        """Add an adapter; the version's name."""
        added = await self.rollouts.add(name, self.source(name, seed), actor="tester", promote=promote)
        return added.version.name

    async def start_replica(
        self, name: str, engine: FakeEngine | None = None, *, settled: bool = True, **options: Any
    ) -> Replica:
        """Bring up one more replica, which asks its engine for an account at every report."""
        options.setdefault("account_after_s", 0.0)
        slots = self.config.adapters
        engine = engine or FakeEngine(capacity=AdapterCapacity(slots.slots, slots.cpu_slots, slots.max_rank))
        registry = CollectorRegistry()
        metrics = GatewayMetrics(registry, replica=name)
        cache = DiskCache(self.folder / "cache" / name, slots.cache_bytes, self.store)
        residency = ReplicaResidency(self.config, self.catalog, cache, engine, metrics, name, **options)
        await residency.start(await engine.start(lambda line: None))
        replica = Replica(name, engine, residency, registry)
        self.replicas.append(replica)
        if settled:
            await asyncio.wait_for(residency.until_settled(), PATIENCE_S)
            await until(lambda: name in {report.replica for report in self.catalog.replicas(5)})
        return replica

    async def stop_replica(self, replica: Replica) -> None:
        """Take a replica down in an orderly way."""
        self.replicas.remove(replica)
        await replica.residency.stop()
        await replica.engine.stop()

    async def restart_control(self) -> None:
        """End the control plane and begin another one over the same state."""
        await self.rollouts.close()
        spec = BaseModelSpec.from_checkpoint(self.base, BASE_NAME)
        self.rollouts = Rollouts(self.config, self.catalog, self.store, spec)
        await self.rollouts.start()


@asynccontextmanager
async def world(
    folder: Path, *, replicas: int = 1, adapters: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[World]:
    """A running world with empty state, or with the state that an earlier one left in ``folder``."""
    base = make_base(folder / BASE_NAME)
    settings = parse_config(
        {
            "model": {"id": str(base)},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "artifacts": {"url": str(folder / "artifacts")},
            "adapters": {"sync_interval_s": 0.02, **(adapters or {})},
            **config,
        }
    )
    catalog = Catalog(settings.state.url)
    catalog.migrate()
    store = ArtifactStore(settings.artifacts.url, settings.artifacts.options)
    rollouts = Rollouts(settings, catalog, store, BaseModelSpec.from_checkpoint(base, BASE_NAME))
    await rollouts.start()
    life = LifeController(settings, catalog, rollouts, Passing())
    made = World(folder, settings, catalog, store, rollouts, life)
    try:
        for number in range(replicas):
            await made.start_replica(f"r{number}")
        yield made
    finally:
        await made.life.stop()
        await made.rollouts.close()
        for replica in list(made.replicas):
            await made.stop_replica(replica)
        catalog.close()


async def until(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Wait for a state that no event announces. Raises AssertionError after ``PATIENCE_S``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert loop.time() < deadline, f"{what} did not come true within {PATIENCE_S} s"
        await asyncio.sleep(0.01)
