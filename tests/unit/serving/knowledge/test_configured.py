"""What a sync makes of documents that failed and of files that cannot be kept."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.config import KnowledgeSettings
from serving.knowledge.configured import ConfiguredBases
from serving.knowledge.types import DocumentRecord, DocumentStatus
from tests.knowledge_house import House, open_house


@dataclass(frozen=True, slots=True)
class Synced:
    """A configured store that follows a folder."""

    house: House
    bases: ConfiguredBases
    settings: KnowledgeSettings
    folder: Path

    def sync(self) -> dict[str, DocumentRecord]:
        """Look at the folder; what the store then holds, by source."""
        self.bases.sync("rules", self.settings.bases["rules"])
        store = next(one for one in self.house.stores.all() if one.configured)
        return {str(one.attributes["source"]): one for one in self.house.documents.of_store(store.id)}


@pytest.fixture
def synced(tmp_path: Path, state_url: str) -> Iterator[Synced]:
    folder = tmp_path / "rules"
    folder.mkdir()
    settings = KnowledgeSettings.model_validate({"bases": {"rules": {"sources": [{"path": str(folder)}]}}})
    with open_house(tmp_path, state_url) as house:
        bases = ConfiguredBases(settings, house.stores, house.documents, house.shelves, house.library)
        bases.ensure()
        yield Synced(house, bases, settings, folder)


def test_a_document_that_failed_is_tried_again_as_the_same_file(synced: Synced) -> None:
    (synced.folder / "a.md").write_text("text")
    first = synced.sync()["a.md"]
    for _ in range(3):
        synced.house.documents.fail(synced.sync()["a.md"], "server_error", "away")
        again = synced.sync()["a.md"]
        assert (again.file_id, again.status) == (first.file_id, DocumentStatus.IN_PROGRESS)
    assert [one.name for one in synced.house.folder.iterdir()] == [first.file_id]


def test_bytes_that_were_lost_are_there_when_the_document_is_tried_again(synced: Synced) -> None:
    (synced.folder / "a.md").write_text("text")
    document = synced.sync()["a.md"]
    synced.house.blobs.delete(document.file_id)
    synced.house.documents.fail(document, "server_error", "missing")
    assert synced.house.blobs.get(synced.sync()["a.md"].file_id) == b"text"


def test_a_failed_document_whose_file_changed_is_a_new_file(synced: Synced) -> None:
    (synced.folder / "a.md").write_text("text")
    document = synced.sync()["a.md"]
    synced.house.documents.fail(document, "server_error", "away")
    (synced.folder / "a.md").write_text("other text")
    again = synced.sync()["a.md"]
    assert again.file_id != document.file_id
    assert [file_id for file_id, _ in again.replaces] == [document.file_id]


def test_a_file_whose_name_cannot_be_kept_stops_no_other_and_is_told_once(
    synced: Synced, caplog: pytest.LogCaptureFixture
) -> None:
    deep = synced.folder.joinpath(*["d" * 200] * 3)
    deep.mkdir(parents=True)
    (deep / "a.md").write_text("too deep")
    (synced.folder / "z.md").write_text("fine")
    with caplog.at_level(logging.WARNING):
        assert set(synced.sync()) == {"z.md"}
        assert set(synced.sync()) == {"z.md"}
    assert [one.message for one in caplog.records if "512 characters" in one.message] == [caplog.records[-1].message]
    assert len(list(synced.house.folder.iterdir())) == 1


def test_labels_that_cannot_be_kept_are_told_before_anything_is_uploaded(
    synced: Synced, caplog: pytest.LogCaptureFixture
) -> None:
    (synced.folder / "a.md").write_text("text")
    base = synced.settings.bases["rules"]
    source = base.sources[0].model_copy(update={"labels": tuple(f"{n}{'x' * 40}" for n in range(30))})
    with caplog.at_level(logging.WARNING):
        synced.bases.sync("rules", base.model_copy(update={"sources": (source,)}))
    assert "labels" in caplog.text
    assert synced.house.blobs.entries() == []
