"""Which requests a rollout compares."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters.catalog import Catalog
from adapters.rollout_types import Phase, RoleCounts, RolloutMark
from adapters.types import Alias, CatalogSnapshot, Role
from monitoring.metrics import GatewayMetrics
from serving.accounting import Call, Generation
from serving.admission import Admission
from serving.answers import FinishedText
from serving.auth import ANYONE
from serving.config import parse_config
from serving.engine.fake import FakeEngine
from serving.engine.protocol import Endpoint
from serving.grounding.grounded import Grounded, Outcome
from serving.life.observer import Observer
from serving.observability.generations import GenerationTelling
from serving.shadow import ShadowTraffic
from serving.tasks import Resolution
from tests.api.harness import MemoryResidency

OLD, NEW = "triage@11111111", "triage@22222222"
CONFIG = parse_config({"model": {"id": "org/base"}, "tasks": {"free": {"adapter": "triage"}}})
BODY: dict[str, Any] = {"model": "free", "messages": [{"role": "user", "content": "hello"}]}


class Bench:
    """Requests of the stable version while a rollout is in one phase."""

    def __init__(self, folder: Path, catalog: Catalog, engine: FakeEngine) -> None:
        self.residency = MemoryResidency(engine, folder)
        self.metrics = GatewayMetrics(CollectorRegistry(), replica="r0")
        self.observer = Observer(CONFIG, catalog, self.metrics, "r0")
        self._admission = Admission(CONFIG.limits)
        self._shadows = ShadowTraffic(engine, self.residency, self.metrics, self._admission, 5.0, self.observer)

    def request(self, phase: Phase) -> Generation:
        """One that the stable version answers."""
        mark = RolloutMark(7, "triage", NEW, OLD, phase, 0.0)
        alias = Alias("triage", stable=OLD, shadow=NEW if phase is Phase.SHADOW else None)
        self.residency.snapshot = CatalogSnapshot(1, {}, {"triage": alias}, rollouts={"triage": mark})
        call = Call(Endpoint.CHAT, dict(BODY), ANYONE, "req-1", perf_counter(), "somebody")
        resolution = Resolution("free", "free", CONFIG.tasks["free"], OLD, Role.STABLE, shadow=alias.shadow)
        return Generation(
            call,
            resolution,
            None,
            admission=self._admission,
            residency=self.residency,
            metrics=self.metrics,
            telling=GenerationTelling(CONFIG),
            observer=self.observer,
        )

    async def copied(self, request: Generation) -> None:
        """Hand the request to the shadow, and wait until that has ended."""
        self._shadows.copy(request, request.engine_request(dict(BODY)))
        await asyncio.gather(*self._shadows._running)

    async def counted(self) -> dict[str, RoleCounts]:
        """By role."""
        await self.observer.flush()
        return self.observer.records.totals(7)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """One over a real catalog."""
    catalog = Catalog(f"sqlite:///{tmp_path}/state.db")
    catalog.migrate()
    engine = FakeEngine()
    await engine.start(lambda line: None)
    made = Bench(tmp_path, catalog, engine)
    yield made
    await made.observer.stop()
    catalog.close()


async def test_an_answer_that_the_gateway_gives_itself_says_nothing_of_a_version(bench: Bench) -> None:
    for outcome in (Outcome.REFUSED, Outcome.EMPTY):
        request = bench.request(Phase.CANARY)
        request.grounded = Grounded(outcome, (), "?", cites=False, keeps_shape=False, asked={})
        await request.judge([FinishedText({}, "I'm sorry, but I can't help with that.", "stop")])
        request.end(None)

    assert (await bench.counted())["stable"].signals["refusal"] == [1, 1]


async def test_beside_a_shadow_only_requests_that_were_copied_count(bench: Bench) -> None:
    without_copy = bench.request(Phase.SHADOW)
    without_copy.end(None)
    bench.residency.saturated.add(NEW)
    without_place = bench.request(Phase.SHADOW)
    await bench.copied(without_place)
    without_place.end(None)
    assert (await bench.counted())["stable"].signals == {}

    bench.residency.saturated.clear()
    copied = bench.request(Phase.SHADOW)
    await bench.copied(copied)
    copied.end(None)
    counts = await bench.counted()
    assert {role: found.signals["errors"] for role, found in counts.items()} == {"shadow": [1, 0], "stable": [1, 0]}


async def test_beside_a_canary_every_request_counts(bench: Bench) -> None:
    bench.request(Phase.CANARY).end(None)
    assert (await bench.counted())["stable"].signals["errors"] == [1, 0]
