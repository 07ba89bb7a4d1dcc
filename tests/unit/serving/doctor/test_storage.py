"""The checks of state, artifacts and index, on files. The real servers: tests/integration/test_doctor_servers.py."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from adapters.database import Database
from retrieval.indexes.milvus import open_milvus
from retrieval.indexes.protocol import IndexSpec
from serving.config import GatewayConfig, parse_config
from serving.doctor import storage
from serving.doctor.finding import Finding, Level
from serving.doctor.patience import TooLong, within
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA
from serving.knowledge.types import new_store
from serving.state import migrate_state


def config_of(folder: Path, **sections: Any) -> GatewayConfig:
    """A configuration whose state and files are in ``folder``."""
    return parse_config(
        {
            "model": {"id": "org/base"},
            "engine": {"kind": "fake"},
            "state": {"url": f"sqlite:///{folder}/state.db"},
            "artifacts": {"url": str(folder / "artifacts")},
            "knowledge": {"index": {"uri": str(folder / "milvus.db")}, "cache_dir": str(folder / "cache")},
        }
        | sections
    )


def one(findings: Any, level: Level) -> Finding:
    """The only finding."""
    [finding] = list(findings)
    assert finding.level is level, finding
    return finding  # type: ignore[no-any-return]


# State


def test_a_state_that_is_not_there_yet_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    assert "the first start makes it" in one(storage.state(config_of(tmp_path)), Level.OK).message
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_is_up_to_date_is_well(tmp_path: Path) -> None:
    migrate_state(f"sqlite:///{tmp_path}/state.db")

    assert "has tables of catalog" in one(storage.state(config_of(tmp_path)), Level.OK).message


def test_a_schema_that_is_behind_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    migrate_state(url)
    with Database(url).writing() as connection:
        connection.execute(text("UPDATE catalog_schema SET version_num = '0001'"))
    finding = one(storage.state(config_of(tmp_path)), Level.WARN)

    assert finding.message == "The schema of catalog is older than this release."
    assert "loraplex migrate" in finding.next


def test_a_schema_of_a_newer_release_is_a_fault(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    migrate_state(url)
    with Database(url).writing() as connection:
        connection.execute(text("UPDATE catalog_schema SET version_num = '9999'"))

    assert "upgrade Loraplex" in one(storage.state(config_of(tmp_path)), Level.FAIL).message


def test_a_state_that_is_no_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)

    assert "cannot be used" in one(storage.state(config_of(tmp_path)), Level.FAIL).message


def test_a_folder_that_cannot_be_written_is_a_fault() -> None:
    config = config_of(Path("/proc"))

    assert one(storage.state(config), Level.FAIL).message == "/proc cannot be written."
    assert one(storage.artifacts(config), Level.FAIL).message == "/proc cannot be written."
    assert one(storage.index(config), Level.FAIL).message == "The index cannot be used: /proc cannot be written."


# Artifacts


def test_a_store_is_written_read_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()

    assert "written, read and deleted" in one(storage.artifacts(config_of(tmp_path)), Level.OK).message
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_store_that_is_not_there_yet_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    assert "Nothing is stored yet" in one(storage.artifacts(config_of(tmp_path)), Level.OK).message
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "artifacts").touch()

    assert "cannot be used" in one(storage.artifacts(config_of(tmp_path)), Level.FAIL).message


def test_secrets_in_the_file_are_told(tmp_path: Path) -> None:
    options = {"url": "memory://artifacts", "options": {"secret": "hidden"}}
    state = {"url": "postgresql://loraplex:hidden@127.0.0.1:9/loraplex"}
    config = config_of(tmp_path, artifacts=options, state=state)
    found = [*storage.artifacts(config), *storage.state(config, limit_s=5)]

    assert [finding.level for finding in found if "in the configuration" in finding.message] == [Level.WARN, Level.WARN]
    assert not any("hidden" in finding.message + finding.next for finding in found)


# Index


def _with_store(folder: Path, name: str, collection: str) -> None:
    url = f"sqlite:///{folder}/state.db"
    migrate_state(url)
    stores = Stores(Database(url, SCHEMA))
    record = new_store(name, "tests", 0)
    stores.add(record)
    stores.change(record.id, index_name=collection)


def test_without_knowledge_there_is_no_index(tmp_path: Path) -> None:
    assert "no section `knowledge`" in one(storage.index(config_of(tmp_path, knowledge=None)), Level.SKIP).message


def test_an_embedded_index_that_is_in_use_is_not_disturbed(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert "not made yet" in one(storage.index(config), Level.OK).message
    store = open_milvus(str(tmp_path / "milvus.db"))
    try:
        store.create("handbook", IndexSpec(4, "tests"))
        assert "in use by a gateway" in one(storage.index(config), Level.OK).message
        _with_store(tmp_path, "handbook", "handbook")
        assert "1 vector store, each with its collection" in one(storage.index(config), Level.OK).message
    finally:
        store.close()


def test_an_embedded_index_that_nobody_uses_is_well(tmp_path: Path) -> None:
    (tmp_path / "milvus.db").mkdir()
    (tmp_path / "milvus.db" / "LOCK").touch()

    assert "in use by nobody now" in one(storage.index(config_of(tmp_path)), Level.OK).message


def test_a_store_without_its_collection_is_a_fault(tmp_path: Path) -> None:
    _with_store(tmp_path, "handbook", "gone")
    finding = one(storage.index(config_of(tmp_path)), Level.FAIL)

    assert finding.message == "The passages of the vector store handbook are not in the index: it finds nothing."


# Patience


def test_what_hangs_is_left_behind() -> None:
    release = threading.Event()
    with pytest.raises(TooLong, match=r"no answer within 0\.05 s"):
        within(0.05, release.wait)
    release.set()


def test_what_fails_says_so() -> None:
    def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        within(5, fails)
