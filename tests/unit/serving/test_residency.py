"""The replica's side of the adapter lifecycle."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.errors import AdapterRejected, LoadFailed, VersionNotFound
from adapters.types import HoldingStatus, Tier
from serving.engine.fake import FakeEngine
from serving.engine.protocol import AdapterCapacity, ResidentAdapter
from serving.errors import ConfigInvalid, NotReady
from tests.lifecycle import PATIENCE_S, Replica, World, until, world


async def test_a_starting_replica_holds_every_tasks_adapter_before_it_is_settled(tmp_path: Path) -> None:
    tasks = {"support": {"adapter": "triage"}, "haiku": {"adapter": "poet"}}
    async with world(tmp_path, replicas=0, tasks=tasks) as it:
        triage = await it.add("triage", promote=True)
        poet = await it.add("poet", promote=True)
        engine = FakeEngine()
        engine.load_gate.clear()
        replica = await it.start_replica("r0", engine, settled=False)
        await engine.until(lambda engine: len(engine.loads) == 2)
        assert not replica.residency.settled
        assert "is loading" in replica.residency.waiting_for()
        engine.load_gate.set()
        await asyncio.wait_for(replica.residency.until_settled(), PATIENCE_S)
        assert await replica.held() == {triage, poet}
        assert replica.residency.waiting_for() == ""


async def test_it_reports_what_its_engine_holds(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage", promote=True)
        await it.start_replica("r0", address="http://127.0.0.1:9000")

        def reported() -> bool:
            [report] = it.catalog.replicas(5)
            return [holding.status for holding in report.holdings] == [HoldingStatus.READY]

        await until(reported)
        [report] = it.catalog.replicas(5)
        assert (report.replica, report.ready, report.address) == ("r0", True, "http://127.0.0.1:9000")
        [holding] = report.holdings
        assert (holding.version, holding.tier, holding.in_flight) == (version, Tier.SLOT, 0)


async def test_a_failing_task_adapter_keeps_a_starting_replica_from_being_settled_and_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, tasks={"support": {"adapter": "triage"}}) as it:
        await it.add("triage", promote=True)
        engine = FakeEngine()
        engine.refuse_load["triage"] = "out of memory"
        replica = await it.start_replica("r0", engine, settled=False)
        await until(lambda: "out of memory" in replica.residency.waiting_for())
        assert not replica.residency.settled


async def test_a_failing_adapter_without_a_task_does_not_hold_up_the_start(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        await it.add("triage", promote=True)
        engine = FakeEngine()
        engine.refuse_load["triage"] = "out of memory"
        replica = await it.start_replica("r0", engine)
        with pytest.raises(LoadFailed, match="out of memory"):
            await replica.ask("triage")


async def test_a_failed_load_is_tried_again_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, tasks={"support": {"adapter": "triage"}}) as it:
        version = await it.add("triage", promote=True)
        engine = FakeEngine()
        engine.refuse_load["triage"] = "out of memory"
        replica = await it.start_replica("r0", engine, settled=False)
        await engine.until(lambda engine: len(engine.loads) == 1)
        engine.refuse_load.clear()
        await asyncio.wait_for(replica.residency.until_settled(), PATIENCE_S)
        assert await replica.ask("triage") == (version, version)


async def test_a_preloaded_adapter_that_is_not_in_the_catalog_yet_is_waited_for(tmp_path: Path) -> None:
    sources = {"preload": [{"name": "triage", "source": str(tmp_path / "sources" / "triage-0")}]}
    async with world(tmp_path, replicas=0, adapters=sources) as it:
        replica = await it.start_replica("r0", settled=False)
        assert "`triage` is not in the catalog yet" in replica.residency.waiting_for()
        it.source("triage")
        await it.rollouts.preload()
        await asyncio.wait_for(replica.residency.until_settled(), PATIENCE_S)


async def test_an_exact_version_without_a_role_is_loaded_on_demand_and_swept_when_idle(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        replica = await it.start_replica("r0", sweep_after_s=0.2)
        assert await replica.held() == set()
        assert await replica.ask_version(version) == version
        assert await replica.held() == {version}
        await until(lambda: replica.engine.unloads == [version])


async def test_a_version_that_the_catalog_does_not_know_is_never_loaded(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        await it.rollouts.remove(version, actor="tester")
        [replica] = it.replicas
        for name in (version, "nobody@00000000"):
            with pytest.raises(VersionNotFound):
                await replica.ask_version(name)
        assert replica.engine.loads == []


async def test_more_aliases_than_places_are_served_by_taking_turns(tmp_path: Path) -> None:
    async with world(tmp_path, adapters={"slots": 2, "cpu_slots": 2}) as it:
        for name in ("one", "two", "three", "four"):
            await it.add(name, promote=True)
        [replica] = it.replicas
        for name in ("one", "two", "three", "four", "one"):
            chosen, answered = await replica.ask(name)
            assert chosen == answered
            assert len(await replica.held()) <= 2


async def test_what_requests_evicted_is_not_loaded_again_ahead_of_requests(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, adapters={"slots": 1, "cpu_slots": 1}) as it:
        for name in ("one", "two"):
            await it.add(name, promote=True)
        replica = await it.start_replica("r0")
        await replica.ask("two")
        loads = list(replica.engine.loads)
        revision = it.catalog.revision()
        await it.add("three")
        await until(lambda: replica.residency.snapshot.revision > revision)
        await until(lambda: it.catalog.replicas(5)[0].revision > revision)
        assert replica.engine.loads == loads


async def test_pinned_versions_are_loaded_first_and_never_evicted(tmp_path: Path) -> None:
    async with world(tmp_path, adapters={"slots": 2, "cpu_slots": 2}) as it:
        pinned = await it.add("pinned")
        await it.rollouts.pin(pinned, actor="tester")
        [replica] = it.replicas
        for seed in range(4):
            await replica.ask_version(await it.add("other", seed))
            assert pinned in await replica.held()
        assert replica.engine.loads.count(pinned) == 1


async def test_more_pins_than_places_are_refused_at_start(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for seed in range(3):
            await it.rollouts.pin(await it.add("triage", seed), actor="tester")
        small = FakeEngine(capacity=AdapterCapacity(slots=2, cpu_slots=2, max_rank=16))
        with pytest.raises(ConfigInvalid, match="3 adapter versions are pinned, but the engine holds 2"):
            await it.start_replica("small", small, settled=False)


async def test_tasks_with_adapters_are_refused_by_an_engine_without(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, tasks={"support": {"adapter": "triage"}}) as it:
        with pytest.raises(ConfigInvalid, match="task `support` uses an adapter"):
            await it.start_replica("r0", FakeEngine(capacity=None), settled=False)


async def test_an_engine_without_adapters_settles_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        replica = await it.start_replica("r0", FakeEngine(capacity=None))
        with pytest.raises(LoadFailed, match="does not load adapters"):
            await replica.ask_version(version)


async def test_nothing_can_be_acquired_before_the_start(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        [replica] = it.replicas
        await it.stop_replica(replica)
        fresh = type(replica.residency)(
            it.config, it.catalog, replica.residency._loader._cache, replica.engine, replica.residency._metrics, "new"
        )
        with pytest.raises(NotReady):
            await fresh.acquire("triage@00000000", 1.0)


async def test_draining_waits_for_the_requests_in_flight(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        old = await it.add("triage", 1, promote=True)
        [replica] = it.replicas
        await replica.residency.acquire(old, PATIENCE_S)
        new = await it.add("triage", 2, promote=True)
        assert replica.residency.snapshot.aliases["triage"].stable == new
        assert {old, new} <= await replica.held()
        [report] = it.catalog.replicas(5)
        assert {holding.version: holding.status for holding in report.holdings}[old] is HoldingStatus.DRAINING
        replica.residency.release(old)
        await until(lambda: replica.engine.unloads == [old])
        assert await replica.held() == {new}
        assert replica.metric("loraplex_adapter_unloads_total", adapter=old, reason="retired") == 1


async def test_a_rollback_takes_back_a_version_that_is_still_draining(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        old = await it.add("triage", 1, promote=True)
        [replica] = it.replicas
        await replica.residency.acquire(old, PATIENCE_S)
        new = await it.add("triage", 2, promote=True)
        await it.rollouts.rollback("triage", actor="tester")
        assert await replica.ask("triage") == (old, old)
        replica.residency.release(old)
        await until(lambda: replica.engine.unloads == [new])
        assert replica.engine.loads.count(old) == 1


async def test_a_version_that_vanished_from_the_engine_is_loaded_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage", promote=True)
        [replica] = it.replicas
        await replica.engine.unload_adapter(version)
        await until(lambda: replica.engine.loads.count(version) == 2)
        await until(replica.held)
        assert await replica.ask("triage") == (version, version)


async def test_loads_are_measured_by_the_tier_that_they_came_from(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        await replica.ask_version(version)
        assert replica.metric("loraplex_adapter_load_seconds_count", adapter=version, tier="store") == 1
        await replica.engine.unload_adapter(version)
        await until(
            lambda: replica.residency._pool is not None and not replica.residency._pool.is_ready(version),
            "the loss being noticed",
        )
        await replica.ask_version(version)
        assert replica.metric("loraplex_adapter_load_seconds_count", adapter=version, tier="disk") == 1


async def test_a_version_that_passed_the_probe_is_not_probed_again(tmp_path: Path) -> None:
    async with world(tmp_path, adapters={"slots": 1, "cpu_slots": 1}) as it:
        one, two = await it.add("one"), await it.add("two")
        [replica] = it.replicas
        for version in (one, two, one, two):
            await replica.ask_version(version)
        probes = [request for request in replica.engine.requests if request.request_id.startswith("effect-probe")]
        assert {request.adapter for request in probes} == {None, one, two}
        asked = len(probes)
        await replica.ask_version(one)
        assert len([r for r in replica.engine.requests if r.request_id.startswith("effect-probe")]) == asked


async def test_an_inert_version_never_serves_even_when_addressed_directly(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        replica.engine.inert.add(version)
        for _ in range(2):
            with pytest.raises(AdapterRejected, match="changes nothing"):
                await replica.ask_version(version)
        assert replica.engine.loads == [version], "its content never changes: one refusal is enough"
        assert await replica.held() == set()


async def break_catalog(it: World, *, broken: bool) -> None:
    old, new = ("catalog_state", "hidden") if broken else ("hidden", "catalog_state")
    connection = sqlite3.connect(it.folder / "state.db", timeout=PATIENCE_S)
    connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
    connection.commit()
    connection.close()


async def test_it_goes_on_serving_while_the_catalog_is_away_and_recovers_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage", promote=True)
        [replica] = it.replicas
        await break_catalog(it, broken=True)
        await until(lambda: replica.residency.catalog_error)
        with caplog.at_level(logging.INFO):
            assert await replica.ask("triage") == (version, version)
            assert replica.residency.settled
            assert replica.metric("loraplex_catalog_reachable") == 0
            await break_catalog(it, broken=False)
            await until(lambda: replica.residency.catalog_error is None)
            assert replica.metric("loraplex_catalog_reachable") == 1
        assert "can be reached again" in caplog.text
        new = await it.add("triage", 2, promote=True)
        assert await replica.ask("triage") == (new, new)


async def test_a_replica_that_starts_without_a_catalog_waits_for_it(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage", promote=True)
        await break_catalog(it, broken=True)
        replica = await it.start_replica("r0", settled=False)
        assert not replica.residency.settled
        assert "no tables yet" in replica.residency.waiting_for()
        await break_catalog(it, broken=False)
        await asyncio.wait_for(replica.residency.until_settled(), PATIENCE_S)
        assert await replica.ask("triage") == (version, version)


async def test_a_stopped_replica_is_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        await it.stop_replica(it.replicas[0])
        assert [report.replica for report in it.catalog.replicas(5)] == ["r1"]


async def test_swaps_are_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.add("triage", 1, promote=True)
        second = await it.add("triage", 2)
        await it.rollouts.canary("triage", second, 0.5, actor="tester")
        await it.rollouts.promote("triage", second, actor="tester")
        await it.rollouts.rollback("triage", actor="tester")
        [replica] = it.replicas

        def swaps(action: str) -> float:
            return replica.metric("loraplex_adapter_swaps_total", alias="triage", action=action)

        assert [swaps(action) for action in ("promote", "canary", "rollback")] == [2, 1, 1]


async def held_everywhere(replicas: list[Replica]) -> list[set[str]]:
    return [await replica.held() for replica in replicas]


async def test_a_restart_of_everything_brings_back_what_was_served(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        stable = await it.add("triage", 1, promote=True)
        canary = await it.add("triage", 2)
        await it.rollouts.canary("triage", canary, 0.5, actor="tester")
        pinned = await it.add("poet")
        await it.rollouts.pin(pinned, actor="tester")
    tasks = {"support": {"adapter": "triage"}}
    async with world(tmp_path, replicas=2, tasks=tasks) as it:
        assert await held_everywhere(it.replicas) == [{stable, canary, pinned}] * 2
        alias = it.replicas[0].residency.snapshot.aliases["triage"]
        assert (alias.stable, alias.canary, alias.canary_share) == (stable, canary, 0.5)


async def test_an_engine_is_not_asked_for_its_account_while_nothing_changes(tmp_path: Path) -> None:
    class Counting(FakeEngine):
        asked = 0

        async def resident(self) -> Sequence[ResidentAdapter]:
            self.asked += 1
            return await super().resident()

    async with world(tmp_path, replicas=0) as it:
        engine = Counting()
        replica = await it.start_replica("r0", engine, account_after_s=3600.0)
        version = await it.add("triage", promote=True)
        reports: dict[object, int] = {}

        def reported_thrice_without_asking() -> bool:
            [report] = it.catalog.replicas(5)
            reports.setdefault(report.reported_at, engine.asked)
            return len(reports) >= 3 and len(set(list(reports.values())[-3:])) == 1

        await until(reported_thrice_without_asking)
        assert await replica.held() == {version}


async def test_it_is_known_how_a_version_came_to_be_here(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage", promote=True)
        residency = it.replicas[0].residency
        load = residency.last_load(version)
        assert load is not None
        assert load.began < load.ended
        assert load.origin is Tier.STORE
        assert residency.last_load("triage@00000000") is None
