"""What a sync must not lose, and not leave behind."""

from pathlib import Path

from serving.knowledge.sync import Held, SyncPlan, sync_attributes
from tests.knowledge_terminal import KnowledgeTerminal, knowledge_terminal
from tests.lifecycle import until

ORIGIN = "/docs"


def _held(file_id: str, source: str, digest: str) -> Held:
    return Held(file_id, digest, sync_attributes(source, ORIGIN, ()))


def test_an_origin_that_is_not_there_loses_nothing() -> None:
    plan = SyncPlan.over([_held("file-1", "a", "d1"), _held("file-2", "b/c", "d1")], ORIGIN)
    plan.keep("docs")
    assert plan.gone() == []


def test_every_edition_of_what_is_gone_is_gone() -> None:
    plan = SyncPlan.over([_held("file-1", "a", "d1"), _held("file-2", "a", "d2")], ORIGIN)
    assert not plan.wants("a", "d2", sync_attributes("a", ORIGIN, ()))
    plan = SyncPlan.over([_held("file-1", "a", "d1"), _held("file-2", "a", "d2")], ORIGIN)
    assert [one.file_id for one in plan.gone()] == ["file-1", "file-2"]


async def _synced(cli: KnowledgeTerminal, marker: Path) -> None:
    """Wait for a sync that began after this, which takes in another file, and for all that it took in."""
    marker.write_text(f"# {marker.stem}")
    await cli.run("knowledge", "sync", "rules")

    async def is_there() -> bool:
        documents = await cli.documents("rules")
        return marker.name in documents and {one["status"] for one in documents.values()} == {"completed"}

    await until(is_there)


async def test_a_configured_folder_that_vanishes_keeps_its_documents(tmp_path: Path) -> None:
    folder, other, state = (tmp_path / name for name in ("folder", "other", "state"))
    for path in (folder, other, state):
        path.mkdir()
    (folder / "x.md").write_text("# X")
    sources = [{"path": str(folder)}, {"path": str(other)}]
    bases = {"rules": {"sources": sources, "sync_interval_s": None}}
    async with knowledge_terminal(state, knowledge={"bases": bases}) as cli:
        await _synced(cli, other / "one.md")
        folder.rename(tmp_path / "unmounted")
        await _synced(cli, other / "two.md")
        assert set(await cli.documents("rules")) == {"x.md", "one.md", "two.md"}


async def test_files_of_one_name_in_two_configured_folders_do_not_take_turns(tmp_path: Path) -> None:
    folder, other, state = (tmp_path / name for name in ("folder", "other", "state"))
    for path in (folder, other, state):
        path.mkdir()
    (folder / "x.md").write_text("# The first")
    (other / "x.md").write_text("# The second")
    sources = [{"path": str(folder)}, {"path": str(other)}]
    bases = {"rules": {"sources": sources, "sync_interval_s": None}}
    async with knowledge_terminal(state, knowledge={"bases": bases}) as cli:
        await _synced(cli, other / "one.md")
        first = (await cli.documents("rules"))["x.md"]
        await _synced(cli, other / "two.md")
        assert (await cli.documents("rules"))["x.md"] == first
        assert first["attributes"]["origin"] == str(folder)
