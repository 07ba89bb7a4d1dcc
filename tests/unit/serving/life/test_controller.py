"""What becomes of candidates, on a real catalog with fake engines and without traffic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from adapters import tables
from adapters.errors import AliasNotFound, RolloutConflict, VersionNotFound
from adapters.rollout_types import Phase, Report, RoleCounts, Rollout
from adapters.signal_records import SignalRecords
from serving.errors import ExaminationFailed, InvalidRequest
from serving.life.controller import LifeController, Wishes, sequential_tests
from serving.life.driver import Driver
from serving.life.protocol import Examination, Finding
from tests.lifecycle import World, until, world

POLICY: dict[str, Any] = {"suite": "suite.yaml", "on_pass": "promote", "steps": [0.5], "min_requests": 5}


class Examining:
    """An examiner that does what a test says, and remembers what it was asked."""

    def __init__(self, outcome: Finding | Exception) -> None:
        self.outcome = outcome
        self.asked: list[Examination] = []
        self.broken_off = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def examine(self, examination: Examination) -> Finding:
        """Raises the outcome where it is an error."""
        self.asked.append(examination)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@asynccontextmanager
async def house(
    folder: Path, outcome: Finding | Exception, policy: dict[str, Any] | None = None, *, replicas: int = 1
) -> AsyncIterator[tuple[World, Examining]]:
    """A world whose adapter ``triage`` follows ``policy``; the life of its versions goes on."""
    rollouts = {"triage": POLICY | (policy or {})}
    async with world(folder, replicas=replicas, adapters={"rollouts": rollouts}, life={"check_interval_s": 0.02}) as it:
        examiner = Examining(outcome)
        it.life = LifeController(it.config, it.catalog, it.rollouts, examiner)
        await it.life.start()
        yield it, examiner


def passed(*reports: Report) -> Finding:
    return Finding(passed=True, reason="passed the gate: accuracy", reports=reports)


async def until_phase(it: World, phase: Phase) -> Rollout:
    found: list[Rollout] = []

    def there() -> bool:
        found[:] = it.life.records.last("triage")
        return bool(found) and found[0].phase is phase

    await until(there, f"phase {phase}")
    return found[0]


def last_event(it: World) -> tuple[str, str]:
    event = it.catalog.history(limit=1)[0]
    return event.action, event.detail


async def test_an_adapter_without_a_policy_keeps_its_versions_as_they_are(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        version = await it.add("intent")
        await it.life.candidate(version, actor="job")
        with pytest.raises(AliasNotFound, match="no automatic rollout"):
            await it.life.rollouts("intent")
        with pytest.raises(VersionNotFound):
            await it.life.candidate("triage@99999999", actor="job")
        assert not examiner.asked


async def test_a_passed_candidate_carries_its_reports_and_is_promoted(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        examiner.outcome = passed(Report(version, "gate", "passed", "accuracy +0.1", {}))
        await it.life.candidate(version, actor="job")
        await until_phase(it, Phase.PROMOTED)
        assert [report.kind for report in await it.life.reports(version)] == ["rollout", "gate"]
        assert it.catalog.snapshot().aliases["triage"].stable == version
        await it.life.candidate(version, actor="job")  # it is stable: nothing follows
        assert len(it.life.records.last("triage", 9)) == 1


async def test_a_candidate_that_does_not_pass_goes_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        stable = await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        failed = Report(version, "gate", "failed", "accuracy -0.2", {})
        examiner.outcome = Finding(passed=False, reason="did not pass the gate: accuracy -0.2", reports=(failed,))
        await it.life.candidate(version, actor="job")
        ended = await until_phase(it, Phase.REFUSED)
        assert it.catalog.snapshot().aliases["triage"].stable == stable
        assert last_event(it) == ("end-rollout", "did not pass the gate: accuracy -0.2")
        verdicts = [report.verdict for report in await it.life.reports(version)]
        assert verdicts == ["refused", "failed"]
        assert ended.ended_at is not None


async def test_an_examination_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, ExaminationFailed("no such suite")) as (it, _):
        await it.add("triage", 1, promote=True)
        await it.life.candidate(await it.add("triage", 2), actor="job")
        ended = await until_phase(it, Phase.FAILED)
        assert ended.reason == "could not be examined: no such suite"


async def test_a_first_version_is_examined_alone_and_promoted(tmp_path: Path) -> None:
    async with house(tmp_path, passed(), {"on_pass": "canary"}) as (it, examiner):
        version = await it.add("triage", 1)
        await it.life.candidate(version, actor="job")
        ended = await until_phase(it, Phase.PROMOTED)
        assert "nothing to compare it with" in ended.reason
        assert examiner.asked[0].current is None
        assert it.catalog.snapshot().aliases["triage"].stable == version


async def test_a_passed_candidate_may_be_left_to_people(tmp_path: Path) -> None:
    async with house(tmp_path, passed(), {"on_pass": "candidate"}) as (it, _):
        stable = await it.add("triage", 1, promote=True)
        await it.life.candidate(await it.add("triage", 2), actor="job")
        await until_phase(it, Phase.KEPT)
        assert it.catalog.snapshot().aliases["triage"].stable == stable


async def test_a_candidate_that_comes_during_a_rollout_stays_one_and_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        second, third = await it.add("triage", 2), await it.add("triage", 3)
        await it.life.candidate(second, actor="job")
        await it.life.candidate(third, actor="job")
        (report,) = await it.life.reports(third)
        assert (report.verdict, second in report.summary) == ("kept", True)


async def test_a_candidate_that_is_handed_on_twice_is_rolled_out_once(tmp_path: Path) -> None:
    async with house(tmp_path, Finding(passed=False, reason="did not pass the gate", reports=())) as (it, examiner):
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        await it.life.candidate(version, actor="ada (ftjob-1)")
        await until_phase(it, Phase.REFUSED)
        await it.life.candidate(version, actor="ada (ftjob-1)")
        assert len(it.life.records.last("triage", 9)) == 1
        await it.life.candidate(version, actor="ada (ftjob-2)")
        assert len(it.life.records.last("triage", 9)) == 2
        assert examiner.asked


async def test_an_examination_waits_for_a_replica(tmp_path: Path) -> None:
    async with house(tmp_path, passed(), replicas=0) as (it, examiner):
        await it.add("triage", 1, promote=True)
        await it.life.candidate(await it.add("triage", 2), actor="job")
        await until(lambda: it.life.records.active())
        assert not examiner.asked
        await it.start_replica("r0")
        await until_phase(it, Phase.PROMOTED)


async def test_a_change_by_hand_breaks_an_examination_off(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        second, third = await it.add("triage", 2), await it.add("triage", 3)
        await it.life.candidate(second, actor="job")
        await until(lambda: examiner.asked)
        await it.rollouts.promote("triage", third, actor="ada")
        ended = await until_phase(it, Phase.STOPPED)
        assert "changed by hand" in ended.reason
        await until(lambda: examiner.broken_off == 1)


async def test_a_stop_breaks_an_examination_off(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        await it.life.candidate(await it.add("triage", 2), actor="job")
        await until(lambda: examiner.asked)
        stopped = await it.life.end("triage", actor="ada")
        assert (stopped.phase, stopped.reason) == (Phase.STOPPED, "stopped by ada")
        await until(lambda: examiner.broken_off == 1)
        with pytest.raises(RolloutConflict, match="in progress"):
            await it.life.end("triage", actor="ada")


async def test_an_examination_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        await it.life.candidate(await it.add("triage", 2), actor="job")
        await until(lambda: examiner.asked)
        await it.life.stop()
        examiner.gate.set()
        it.life = LifeController(it.config, it.catalog, it.rollouts, examiner)
        await it.life.start()
        await until_phase(it, Phase.PROMOTED)
        assert examiner.asked[0] == examiner.asked[1]


async def test_a_candidate_cannot_be_removed_during_its_rollout(tmp_path: Path) -> None:
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        await it.life.candidate(version, actor="job")
        await until(lambda: examiner.asked)
        with pytest.raises(RolloutConflict, match=f"an automatic rollout of triage needs {version}"):
            await it.rollouts.remove(version, actor="ada")
        await it.life.end("triage", actor="ada")
        await it.rollouts.remove(version, actor="ada")
        assert version not in it.catalog.snapshot().versions


async def test_a_candidate_that_is_gone_all_the_same_ends_its_rollout(tmp_path: Path) -> None:
    """Somebody has mended the database by hand."""
    async with house(tmp_path, passed()) as (it, examiner):
        examiner.gate.clear()
        await it.add("triage", 1, promote=True)
        version = await it.add("triage", 2)
        await it.life.candidate(version, actor="job")
        await until(lambda: examiner.asked)
        with it.catalog.changing() as change:
            change.connection.execute(delete(tables.versions).where(tables.versions.c.name == version))
        await until(lambda: not it.life.records.active())
        assert it.life.records.last("triage")[0].phase is Phase.FAILED


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [(Wishes(steps=[0.5, 0.2]), "larger than"), (Wishes(steps=[]), "at least one"), (Wishes(steps=[1.5]), "below 1")],
)
async def test_wishes_that_cannot_be_followed_are_refused(tmp_path: Path, wishes: Wishes, problem: str) -> None:
    async with house(tmp_path, passed(), replicas=0) as (it, _):
        await it.add("triage", 1, promote=True)
        with pytest.raises(InvalidRequest, match=problem):
            await it.life.begin("triage", await it.add("triage", 2), wishes, actor="ada")


async def test_what_is_stable_or_has_another_canary_is_not_rolled_out(tmp_path: Path) -> None:
    async with house(tmp_path, passed(), {"suite": None}, replicas=0) as (it, _):
        stable = await it.add("triage", 1, promote=True)
        second, third = await it.add("triage", 2), await it.add("triage", 3)
        it.catalog.set_canary("triage", third, 0.5, "ada")
        with pytest.raises(RolloutConflict, match="already the stable"):
            await it.life.begin("triage", stable, Wishes(), actor="ada")
        with pytest.raises(RolloutConflict, match="is the canary"):
            await it.life.begin("triage", second, Wishes(), actor="ada")
        with pytest.raises(InvalidRequest, match="no suite"):
            await it.life.begin("triage", third, Wishes(examine=True), actor="ada")


class Clock:
    """Moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


async def driver_of(it: World, examiner: Examining, clock: Clock, version: str) -> Driver:
    rollout = it.life.records.begin(
        "triage",
        version,
        it.catalog.snapshot().aliases["triage"].stable,
        Phase.EXAMINING,
        it.config.adapters.rollouts["triage"].model_dump(mode="json") | {"suite": None, "on_pass": "canary"},
        actor="ada",
    )
    return Driver(
        rollout.id,
        catalog=it.catalog,
        rollouts=it.rollouts,
        examiner=examiner,
        tests=sequential_tests(),
        run=asyncio.to_thread,
        clock=clock,
    )


@asynccontextmanager
async def quiet_house(folder: Path) -> AsyncIterator[tuple[World, Driver, Clock, str]]:
    """A world in which only a test's own driver acts, on a rollout that has begun."""
    async with world(folder, adapters={"rollouts": {"triage": POLICY | {"suite": None}}}) as it:
        await it.add("triage", 1, promote=True)
        version, clock = await it.add("triage", 2), Clock()
        yield it, await driver_of(it, Examining(passed()), clock, version), clock, version


async def test_a_version_that_cannot_be_loaded_now_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    async with quiet_house(tmp_path) as (it, driver, clock, version):
        engine = it.replicas[0].engine
        engine.refuse_load[version] = "no memory"
        for _ in range(4):
            assert not await driver.tick()
        attempts = engine.loads.count(version)
        assert attempts >= 1
        assert not await driver.tick()
        assert engine.loads.count(version) == attempts
        engine.refuse_load.clear()
        clock.now += 60
        await driver.tick()
        assert it.catalog.snapshot().aliases["triage"].canary == version


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with quiet_house(tmp_path) as (it, driver, _, version):
        await driver.tick()
        await driver.tick()
        assert it.catalog.snapshot().aliases["triage"].canary == version
        for replica in list(it.replicas):
            await it.stop_replica(replica)
        it.catalog.close()
        (tmp_path / "state.db").rename(tmp_path / "away.db")
        assert not await driver.tick()
        assert "waits: the state database" in caplog.text
        it.catalog.close()
        (tmp_path / "away.db").replace(tmp_path / "state.db")
        assert not await driver.tick()
        assert it.life.records.last("triage")[0].phase is Phase.CANARY


async def test_a_tick_that_is_repeated_counts_nothing_twice(tmp_path: Path) -> None:
    async with quiet_house(tmp_path) as (it, driver, clock, version):
        for _ in range(3):
            await driver.tick()
        number = it.life.records.last("triage")[0].id
        counts = RoleCounts({"errors": [4, 0]}, {}).to_json()
        SignalRecords(it.catalog, "r0:x").write({(number, "canary"): counts, (number, "stable"): counts})
        await driver.tick()
        stored = it.life.records.rollout(number)
        await driver.tick()
        again = Driver(
            number,
            catalog=it.catalog,
            rollouts=it.rollouts,
            examiner=Examining(passed()),
            tests=sequential_tests(),
            run=asyncio.to_thread,
            clock=clock,
        )
        await again.tick()
        assert it.life.records.rollout(number) == stored
        assert stored.state["evidence"]["seen"]["errors"] == [0, 4, 0, 4]
        assert version == stored.candidate
