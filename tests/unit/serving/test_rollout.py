"""Rollouts: what operators do, while requests are served."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from adapters.errors import (
    AdapterRejected,
    LoadFailed,
)
from serving.engine.fake import FakeEngine
from serving.engine.protocol import EngineRejected
from serving.errors import NotReady
from tests.lifecycle import PATIENCE_S, Replica, until, world

PAUSE_S = 0.002
"""Between a client's requests, in seconds. Clients that never pause keep the interpreter's lock from the catalog's
threads: a swap then takes seconds."""


@asynccontextmanager
async def traffic(replicas: list[Replica], alias: str, *, clients: int = 8) -> AsyncIterator[Counter[str]]:
    """Requests to every replica for the length of a block; counts answers by version. Fails if a request does."""
    stop = asyncio.Event()
    answers: Counter[str] = Counter()

    async def client(replica: Replica, number: int) -> None:
        while not stop.is_set():
            chosen, answered = await replica.ask(alias, key=f"client-{number}")
            assert answered == chosen
            answers[answered] += 1
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for replica in replicas:
            for number in range(clients):
                group.create_task(client(replica, number))
        await until(lambda: sum(answers.values()) > clients, "traffic")
        try:
            yield answers
        finally:
            stop.set()


async def holds_only(replica: Replica, version: str) -> bool:
    return await replica.held() == {version}


def more_than(answers: Counter[str], version: str, count: int) -> bool:
    return answers[version] > count


async def test_swaps_under_traffic_fail_no_request_and_every_answer_is_by_the_version_chosen(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        first = await it.add("triage", 1, promote=True)
        others = [await it.add("triage", seed) for seed in (2, 3)]
        async with traffic(it.replicas, "triage") as answers:
            for _ in range(3):
                for version in others:
                    await it.rollouts.promote("triage", version, actor="tester")
                    await until(partial(more_than, answers, version, answers[version]), "answers by it")
                await it.rollouts.canary("triage", first, 0.5, actor="tester")
                await it.rollouts.rollback("triage", actor="tester")
                await it.rollouts.rollback("triage", actor="tester")
        stable = it.catalog.snapshot().aliases["triage"].stable
        assert stable is not None
        for replica in it.replicas:
            await until(partial(holds_only, replica, stable), "the others leaving")


async def test_after_a_promote_returns_every_replica_serves_the_new_version(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        result = await it.rollouts.promote("triage", new, actor="tester")
        assert result.replicas == ("r0", "r1")
        assert result.notes == ()
        assert [await replica.ask("triage") for replica in it.replicas] == [(new, new)] * 2


async def test_a_version_that_one_replica_refuses_changes_nothing_anywhere(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        old = await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        it.replicas[1].engine.inert.add(new)
        async with traffic(it.replicas, "triage") as answers:
            with pytest.raises(AdapterRejected, match="changes nothing") as caught:
                await it.rollouts.promote("triage", new, actor="tester")
            assert caught.value.code == "no_effect"
        assert set(answers) == {old}
        snapshot = it.catalog.snapshot()
        assert (snapshot.aliases["triage"].stable, snapshot.staged) == (old, frozenset())
        for replica in it.replicas:
            await until(partial(holds_only, replica, old), "the refused version leaving")


async def test_a_version_that_cannot_be_loaded_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        old = await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        [replica] = it.replicas
        replica.engine.refuse_load[new] = "out of memory"
        with pytest.raises(LoadFailed, match="out of memory"):
            await it.rollouts.promote("triage", new, actor="tester")
        assert await replica.ask("triage") == (old, old)
        replica.engine.refuse_load.clear()
        await it.rollouts.promote("triage", new, actor="tester")
        assert await replica.ask("triage") == (new, new)


async def test_a_load_that_takes_too_long_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, adapters={"load_timeout_s": 3.0}) as it:
        old = await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        [replica] = it.replicas
        replica.engine.load_gate.clear()
        with pytest.raises(LoadFailed, match=r"within 3 s"):
            await it.rollouts.promote("triage", new, actor="tester")
        assert await replica.ask("triage") == (old, old)
        assert it.catalog.snapshot().staged == frozenset()
        replica.engine.load_gate.set()
        await it.rollouts.promote("triage", new, actor="tester")


async def test_without_a_live_replica_a_promote_happens_at_once_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        result = await it.rollouts.promote("triage", version, actor="tester")
        assert result.alias is not None
        assert result.alias.stable == version
        assert result.notes == ("no replica is live: nothing was loaded or probed yet",)


async def test_an_engine_that_cannot_be_probed_is_told_to_the_operator(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        it.replicas[0].engine.fail_next(EngineRejected("logprobs are disabled"))
        result = await it.rollouts.promote("triage", version, actor="tester")
        [note] = result.notes
        assert "effect probe skipped" in note
        assert "logprobs are disabled" in note


async def test_two_operators_promotes_take_turns(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        versions = [await it.add("triage", seed) for seed in range(4)]
        await asyncio.gather(*(it.rollouts.promote("triage", version, actor="tester") for version in versions))
        promoted = [event.version for event in it.catalog.history("triage", 50) if event.action == "promote"]
        assert sorted(filter(None, promoted)) == sorted(versions)
        alias = it.catalog.snapshot().aliases["triage"]
        assert [alias.stable, alias.previous] == promoted[:2]
        assert await it.replicas[0].ask("triage") == (alias.stable, alias.stable)


async def test_a_rollout_killed_half_way_is_cleaned_up_by_the_next_start(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        old = await it.add("triage", 1, promote=True)
        new = await it.add("triage", 2)
        it.catalog.stage(new)
        await until(lambda: new in it.replicas[0].engine.loads)
        await it.restart_control()
        await until(lambda: it.replicas[0].engine.unloads == [new])
        assert await it.replicas[0].ask("triage") == (old, old)


async def test_a_rollout_killed_half_way_does_not_stand_in_the_way_of_the_next_one(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        new = await it.add("triage", 2)
        [replica] = it.replicas
        replica.engine.refuse_load[new] = "out of memory"
        it.catalog.stage(new)
        await until(lambda: new in replica.engine.loads)
        replica.engine.refuse_load.clear()
        await it.rollouts.promote("triage", new, actor="tester")
        assert await replica.ask("triage") == (new, new)


async def test_a_cancelled_rollout_leaves_nothing_staged(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        replica.engine.load_gate.clear()
        rollout = asyncio.create_task(it.rollouts.promote("triage", version, actor="tester"))
        await replica.engine.until(lambda engine: engine.loads == [version])
        rollout.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rollout
        assert it.catalog.snapshot().staged == frozenset()
        replica.engine.load_gate.set()
        await until(lambda: replica.engine.unloads == [version])


async def test_closing_gives_up_a_waiting_rollout_and_unstages_it(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        replica.engine.load_gate.clear()
        rollout = asyncio.create_task(it.rollouts.promote("triage", version, actor="tester"))
        await replica.engine.until(lambda engine: engine.loads == [version])
        await asyncio.wait_for(it.rollouts.close(), PATIENCE_S)
        with pytest.raises(NotReady, match="stopping"):
            await rollout
        assert it.catalog.snapshot().staged == frozenset()
        replica.engine.load_gate.set()


async def test_a_replica_that_dies_during_a_rollout_is_not_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=2) as it:
        version = await it.add("triage")
        doomed, healthy = it.replicas
        doomed.engine.load_gate.clear()
        rollout = asyncio.create_task(it.rollouts.promote("triage", version, actor="tester"))
        await doomed.engine.until(lambda engine: engine.loads == [version])
        await it.stop_replica(doomed)
        assert (await rollout).replicas == ("r1",)
        assert await healthy.ask("triage") == (version, version)


async def test_a_canary_answers_its_share_and_is_dropped_by_a_rollback(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        stable = await it.add("triage", 1, promote=True)
        canary = await it.add("triage", 2)
        await it.rollouts.canary("triage", canary, 0.5, actor="tester")
        [replica] = it.replicas
        answers = {await replica.ask("triage", key=f"user-{number}") for number in range(40)}
        assert answers == {(stable, stable), (canary, canary)}
        result = await it.rollouts.rollback("triage", actor="tester")
        assert result.alias is not None
        assert (result.alias.stable, result.alias.canary) == (stable, None)
        await until(lambda: replica.engine.unloads == [canary])


async def test_a_shadow_is_loaded_but_not_chosen_and_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        stable = await it.add("triage", 1, promote=True)
        shadow = await it.add("triage", 2)
        await it.rollouts.shadow("triage", shadow, actor="tester")
        [replica] = it.replicas
        assert await replica.held() == {stable, shadow}
        assert await replica.ask("triage") == (stable, stable)
        await it.rollouts.shadow("triage", None, actor="tester")
        await until(lambda: replica.engine.unloads == [shadow])


async def test_a_canary_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.add("triage", 1, promote=True)
        await it.rollouts.canary("triage", await it.add("triage", 2), 0.5, actor="tester")
        result = await it.rollouts.end_canary("triage", actor="tester")
        assert result.alias is not None
        assert result.alias.canary is None


async def test_a_replica_that_joins_in_the_middle_of_a_rollout_is_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [first] = it.replicas
        first.engine.load_gate.clear()
        rollout = asyncio.create_task(it.rollouts.promote("triage", version, actor="tester"))
        await first.engine.until(lambda engine: engine.loads == [version])
        slow = FakeEngine()
        slow.load_gate.clear()
        second = await it.start_replica("late", slow, settled=False)
        await slow.until(lambda engine: engine.loads == [version])
        await until(lambda: {report.replica for report in it.catalog.replicas(5)} == {"r0", "late"})
        first.engine.load_gate.set()
        slow.load_gate.set()
        assert set((await rollout).replicas) == {"r0", "late"}
        assert await second.ask("triage") == (version, version)
