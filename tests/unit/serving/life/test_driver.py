"""A rollout is looked at also while the alias is being changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AdapterRejected
from adapters.rollout_types import Phase, RoleCounts, Sample
from adapters.sample_records import SampleRecords
from adapters.signal_records import SignalRecords
from adapters.types import Alias
from serving.life.driver import Driver
from serving.rollout import RolloutResult, Rollouts
from tests.lifecycle import World, until, world
from tests.unit.serving.life.test_controller import POLICY, Clock, Examining, driver_of, passed


class SlowRollouts(Rollouts):
    """Promotes when a test says so."""

    gate: asyncio.Event
    begun = 0
    given_up = 0

    async def promote(
        self, alias: str, version: str, *, actor: str, reason: str = "", expected: Alias | None = None
    ) -> RolloutResult:
        """As if a replica took its time to load the version."""
        self.begun += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return await super().promote(alias, version, actor=actor, reason=reason, expected=expected)


class House:
    """A driver that a test lets tick, with a canary at half of the callers."""

    def __init__(self, it: World, driver: Driver, rollouts: SlowRollouts, version: str) -> None:
        self.it, self.driver, self.rollouts, self.version = it, driver, rollouts, version
        self._records = SignalRecords(it.catalog, "r0:x")

    @property
    def phase(self) -> Phase:
        """Where the rollout is."""
        return self.it.life.records.last("triage")[0].phase

    async def count(self, n: int, bad: int) -> None:
        """Have so many requests of either version counted, and look."""
        number = self.it.life.records.last("triage")[0].id
        counts: dict[tuple[int, str], Any] = {
            (number, "canary"): RoleCounts({"errors": [n, bad]}, {}).to_json(),
            (number, "stable"): RoleCounts({"errors": [n, 0]}, {}).to_json(),
        }
        self._records.write(counts)
        await self.driver.tick()

    async def ticks_until(self, phase: Phase) -> None:
        """Tick until the rollout is in a phase."""
        async with asyncio.timeout(20):
            while self.phase is not phase:
                await self.driver.tick()


@asynccontextmanager
async def house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """One whose promotion has begun and does not get on."""
    monkeypatch.setattr("serving.life.driver._MOMENT_S", 0.01)
    async with world(folder, adapters={"rollouts": {"triage": POLICY | {"suite": None}}}) as it:
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        driver = await driver_of(it, Examining(passed()), Clock(), version)
        rollouts = SlowRollouts(it.config, it.catalog, it.store, it.rollouts._base_spec)
        rollouts.gate = asyncio.Event()
        driver._rollouts = rollouts
        made = House(it, driver, rollouts, version)
        async with asyncio.timeout(20):
            while not it.life.records.last("triage")[0].state.get("applied"):
                await driver.tick()
        await made.count(10, 0)
        await made.ticks_until(Phase.PROMOTING)
        await until(lambda: rollouts.begun)
        try:
            yield made
        finally:
            await driver.close()
            await rollouts.close()


async def test_a_version_that_turns_out_worse_during_its_promotion_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, monkeypatch) as it:
        for n in (30, 60, 90):
            await it.count(n, n - 10)
        await it.ticks_until(Phase.ROLLED_BACK)
        alias = it.it.catalog.snapshot().aliases["triage"]
        assert (it.rollouts.given_up, alias.canary) == (1, None)
        assert alias.stable != it.version


async def test_a_promotion_that_takes_its_time_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, monkeypatch) as it:
        for n in (11, 12):
            await it.count(n, 0)
        it.rollouts.gate.set()
        await it.ticks_until(Phase.PROMOTED)
        assert (it.rollouts.begun, it.rollouts.given_up) == (1, 0)


async def test_a_version_that_turns_out_not_to_be_served_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rollout has been written down meanwhile."""
    async with house(tmp_path, monkeypatch) as it:
        await it.count(11, 0)

        async def refused(*args: object, **options: object) -> RolloutResult:
            raise AdapterRejected("inert", "it changes nothing")

        monkeypatch.setattr(Rollouts, "promote", refused)
        it.rollouts.gate.set()
        await it.ticks_until(Phase.ROLLED_BACK)
        assert "cannot be served" in it.it.life.records.last("triage")[0].reason


async def test_no_test_gets_a_score_of_another_step(tmp_path: Path) -> None:
    """Samples of the step that ended go unscored; scores that came with its end are passed over."""
    policy = POLICY | {"steps": [0.1, 0.5], "signals": {"samples": {"suite": {"file": "suite.yaml"}}}}
    async with world(tmp_path, adapters={"rollouts": {"triage": policy}}) as it:
        await it.add("triage", 1, promote=True)
        driver = await driver_of(it, Examining(passed()), Clock(), await it.add("triage", 2))
        samples, now = SampleRecords(it.catalog, "control:a"), datetime.now(UTC)
        number = it.life.records.last("triage")[0].id

        def state() -> dict[str, Any]:
            return dict(it.life.records.last("triage")[0].state)

        def scored() -> int:
            _, candidate, _, stable = state()["evidence"]["scored"]["suite"]
            return int(candidate + stable)

        def sample() -> None:
            samples.add([Sample(number, "canary", "suite", "v", "t", "{}", now, now + timedelta(hours=1))])

        def score() -> None:
            samples.settle([(samples.newest(number, "suite", 1)[0][0], 0.5)])

        async def applied(step: int) -> None:
            async with asyncio.timeout(20):
                while (state().get("step"), state().get("applied")) != (step, True):
                    await driver.tick()

        await applied(0)
        for _ in range(3):
            sample()
        score()
        await driver.tick()
        assert (scored(), samples.waiting()) == (1, [(number, "suite")])

        counts: Any = {(number, "canary"): RoleCounts({"errors": [10, 0]}, {}).to_json()}
        SignalRecords(it.catalog, "r0:x").write(counts)
        async with asyncio.timeout(20):
            while state()["step"] == 0:
                await driver.tick()
        await until(lambda: it.catalog.snapshot().aliases["triage"].canary_share == 0.5)
        score()
        await applied(1)
        assert (scored(), samples.waiting()) == (1, [])

        sample()
        score()
        await driver.tick()
        assert scored() == 2
        await driver.close()
