"""Adding, verifying, preloading and removing adapters."""

import shutil
from pathlib import Path

import pytest

from adapters.errors import (
    AdapterRejected,
    AliasNotFound,
    RolloutConflict,
    SourceUnavailable,
    VersionNotFound,
)
from serving.errors import InvalidRequest
from tests.lifecycle import until, world


async def test_the_same_content_added_twice_is_one_version(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        source = it.source("triage")
        first = await it.rollouts.add("triage", source, actor="tester")
        second = await it.rollouts.add("triage", source, actor="tester")
        assert (first.new, second.new) == (True, False)
        assert first.version.name == second.version.name


async def test_an_adapter_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        with pytest.raises(AdapterRejected):
            await it.rollouts.add("triage", it.source("triage", rank=64), actor="tester", promote=True)
        assert it.catalog.snapshot().versions == {}
        assert not any((tmp_path / "artifacts").rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["", "-dash", "a@b", "a/b", "../x", "x" * 64, "tiny-llama"])
async def test_names_that_cannot_be_an_adapters_are_refused(tmp_path: Path, name: str) -> None:
    async with world(tmp_path, replicas=0) as it:
        with pytest.raises(InvalidRequest):
            await it.rollouts.add(name, it.source("triage"), actor="tester")


async def test_a_version_may_be_named_by_the_head_of_its_digest(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        digest = version.partition("@")[2]
        for text in (version, digest, digest[:4]):
            result = await it.rollouts.promote("triage", text, actor="tester")
            assert result.version == version


async def test_unknown_versions_and_aliases_are_told_with_what_there_is(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        with pytest.raises(VersionNotFound, match=f"`triage` has {version}"):
            await it.rollouts.promote("triage", "ffffffff", actor="tester")
        with pytest.raises(VersionNotFound, match="`poet` has no versions"):
            await it.rollouts.promote("poet", "ffffffff", actor="tester")
        with pytest.raises(RolloutConflict, match="is a version of `triage`"):
            await it.rollouts.promote("poet", version, actor="tester")
        with pytest.raises(AliasNotFound):
            await it.rollouts.rollback("poet", actor="tester")


async def test_a_version_in_use_cannot_be_removed(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage", promote=True)
        with pytest.raises(RolloutConflict):
            await it.rollouts.remove(version, actor="tester")
        assert await it.replicas[0].ask("triage") == (version, version)


async def test_a_removed_version_leaves_catalog_engines_and_store(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        await replica.ask_version(version)
        await it.rollouts.remove(version, actor="tester")
        assert await replica.held() == set()
        assert not it.store.exists(version)
        assert it.catalog.snapshot().versions == {}


async def test_a_pin_loads_the_version_and_unpin_lets_it_go(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        version = await it.add("triage")
        [replica] = it.replicas
        await it.rollouts.pin(version, actor="tester")
        assert await replica.held() == {version}
        await it.rollouts.unpin(version, actor="tester")
        await until(lambda: replica.engine.unloads == [version])


async def test_a_pin_that_there_is_no_room_for_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, adapters={"slots": 1, "cpu_slots": 2}) as it:
        for seed in range(2):
            await it.rollouts.pin(await it.add("triage", seed), actor="tester")
        with pytest.raises(RolloutConflict, match="unpin one first"):
            await it.rollouts.pin(await it.add("triage", 2), actor="tester")


async def test_verify_finds_damage_and_adding_again_repairs_it(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage")
        assert (await it.rollouts.verify(version)).problem is None
        [weights] = (tmp_path / "artifacts").rglob("adapter_model.safetensors")
        weights.chmod(0o644)
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        problem = (await it.rollouts.verify(version)).problem
        assert problem is not None
        await it.add("triage")
        assert (await it.rollouts.verify(version)).problem is None


async def test_the_history_says_who_did_what(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        version = await it.add("triage", promote=True)
        events = await it.rollouts.history("triage", 10)
        assert [(event.actor, event.action, event.version) for event in events] == [
            ("tester", "promote", version),
            ("tester", "add", version),
        ]


def preloading(folder: Path) -> dict[str, object]:
    return {"preload": [{"name": "triage", "source": str(folder / "sources" / "triage-0")}]}


async def test_the_first_version_of_a_preloaded_adapter_becomes_stable(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, adapters=preloading(tmp_path)) as it:
        it.source("triage")
        [line] = await it.rollouts.preload()
        stable = it.catalog.snapshot().aliases["triage"].stable
        assert line == f"triage: {stable}"


async def test_a_preloaded_adapter_keeps_its_rollout_state_and_new_content_is_added_but_not_promoted(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, replicas=0, adapters=preloading(tmp_path)) as it:
        source = Path(it.source("triage"))
        await it.rollouts.preload()
        rolled_out = await it.add("triage", 7, promote=True)
        shutil.rmtree(source)
        Path(it.source("triage", 9)).rename(source)
        [line] = await it.rollouts.preload()
        snapshot = it.catalog.snapshot()
        assert snapshot.aliases["triage"].stable == rolled_out
        assert len(snapshot.versions) == 3
        assert f"{rolled_out} goes on serving" in line
        assert "loraplex adapters promote triage@" in line


async def test_a_preloaded_source_that_is_gone_does_no_harm_to_what_serves(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, adapters=preloading(tmp_path)) as it:
        source = it.source("triage")
        await it.rollouts.preload()
        shutil.rmtree(source)
        [line] = await it.rollouts.preload()
        assert "goes on serving" in line


async def test_a_preloaded_source_that_nothing_replaces_is_an_error(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0, adapters=preloading(tmp_path)) as it:
        with pytest.raises(SourceUnavailable):
            await it.rollouts.preload()
