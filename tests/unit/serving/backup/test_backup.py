"""Making backups, and restoring them into another installation, without a gateway."""

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from adapters.store import verify
from serving.backup.manifest import Manifest
from tests.knowledge_house import ALICE
from tests.unit.serving.backup.home import INDEX, Home, add_file, add_version, empty_home, search_in


def dump(home: Home) -> list[str]:
    """The whole database as text, its rows in no order."""
    with sqlite3.connect(home.folder / "state.db") as connection:
        lines = sorted(connection.iterdump())
    connection.close()
    return lines


def everything(home: Home) -> dict[str, str]:
    """The digest of every artifact, by its path."""
    root = home.folder / "artifacts"
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_restored_installation_has_the_same_rows_artifacts_and_vectors(home: Home, tmp_path: Path) -> None:
    made = home.back_up()
    copy = empty_home(tmp_path / "copy")

    told = home.restore(copy)

    assert (told.adapters, told.files, told.documents, told.to_embed) == (2, 3, 2, 0)
    assert told.rows == sum(table.rows for table in made.tables.values())
    assert dump(copy) == dump(home)
    assert everything(copy) == everything(home)
    there, here = home.indexes.open(INDEX), copy.indexes.open(INDEX)
    assert there is not None
    assert here is not None
    assert here.spec == there.spec
    for number in there.documents():
        passages, vectors = there.stored(number)
        assert here.stored(number)[0] == passages
        assert (here.stored(number)[1] == vectors).all()


def test_numbers_are_not_given_out_again_that_the_original_had_given_out(home: Home, tmp_path: Path) -> None:
    with home.house() as house:
        last = house.documents.begin_edition(INDEX)
        house.documents.forget_editions([last])
    home.back_up()
    copy = empty_home(tmp_path / "copy")
    home.restore(copy)
    with copy.house() as house:
        assert house.documents.begin_edition(INDEX) == last + 1


def test_what_is_there_already_is_not_copied_again(home: Home) -> None:
    first = home.back_up()
    written = {path: path.stat().st_mtime_ns for path in home.place.rglob("*") if path.is_file()}
    add_version(home, 3)
    second = home.back_up()

    assert first.id != second.id
    assert set(first.adapters) < set(second.adapters)
    assert first.files == second.files
    assert {path: path.stat().st_mtime_ns for path in written} == written
    told = home.run("backup", "--without-index", "--json")
    assert '"added_bytes": 0' in told.stdout


def test_only_the_newest_are_kept_and_they_stay_whole(home: Home, tmp_path: Path) -> None:
    for seed in (3, 4, 5):
        add_version(home, seed)
        assert home.run("backup", "--keep", "2").exit_code == 0
    there = home.vault.backups()
    assert len(there) == 2
    listed = home.run("restore", "--list")
    assert [line.partition(":")[0] for line in listed.stdout.splitlines()] == there
    for backup in there:
        assert home.run("restore", "--check", "--backup", backup).exit_code == 0


def test_pieces_that_no_backup_needs_go_after_a_day(home: Home) -> None:
    made = home.back_up()
    unused = home.vault
    for age_s, left in ((86_400.0, len(made.pieces)), (-1.0, 1)):
        unused.tidy({next(iter(made.pieces))}, age_s)
        assert len(unused.pieces()) == left


@pytest.mark.parametrize("deleted", ["file", "version", "document"])
def test_what_is_deleted_while_it_is_copied_is_not_in_the_backup_and_not_missed(
    home: Home, tmp_path: Path, deleted: str
) -> None:
    first = add_version(home, 7)
    add_version(home, 8)
    told = list[str]()

    def delete() -> None:
        if deleted == "version":
            catalog = home.catalog()
            add_version(home, 9)
            catalog.remove(first, "tests")
            catalog.close()
            shutil.rmtree(home.folder / "artifacts" / first)
            return
        with home.house() as house:
            (store,) = house.stores.all()
            victim = house.documents.of_store(store.id)[0]
            if deleted == "file":
                house.library.forget(victim.file_id)
            index = home.indexes.open(INDEX)
            assert index is not None
            index.remove([victim.edition or 0])
            if deleted == "document":
                house.documents.ingest_again(store.id)
                search_in(home, house, store.id, victim.file_id)

    def say(line: str) -> None:
        told.append(line)
        if len(told) == 1:
            delete()

    made = home.back_up(say)

    assert sum("Read the state" in line for line in told) > 1, "the state is read again"
    assert made.missing == []
    assert made.to_embed == 0
    copy = empty_home(tmp_path / "copy")
    home.restore(copy)
    assert dump(copy) == dump(home)


def test_what_the_installation_itself_has_lost_is_named_and_the_rest_is_backed_up(home: Home, tmp_path: Path) -> None:
    lost = next((home.folder / "artifacts" / "files").iterdir())
    lost.unlink()
    catalog = home.catalog()
    version = catalog.snapshot().aliases["triage"].previous
    catalog.close()
    weights = home.folder / "artifacts" / str(version) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")

    done = home.run("backup")

    assert done.exit_code == 4
    assert f"Lost: file {lost.name}: its bytes are gone from the artifact store" in done.stderr
    assert f"Lost: adapter version {version}: " in done.stderr
    copy = empty_home(tmp_path / "copy")
    told = home.restore(copy)
    assert (told.adapters, told.files) == (1, 2)
    assert dump(copy) != []


def test_documents_whose_passages_cannot_be_had_wait_to_be_embedded_again(home: Home, tmp_path: Path) -> None:
    index = home.indexes.open(INDEX)
    assert index is not None
    index.remove([max(index.documents())])
    made = home.back_up()
    assert made.to_embed == 1
    copy = empty_home(tmp_path / "copy")

    assert home.restore(copy).to_embed == 1

    with copy.house() as house:
        waiting = house.documents.pending()
        assert waiting is not None
        assert waiting.edition is None
        assert sum(one.edition is not None for one in house.documents.of_store(waiting.store_id)) == 1


def test_an_older_schema_is_restored_and_brought_up(home: Home, tmp_path: Path) -> None:
    made = home.back_up()
    tables = {name: copy for name, copy in made.tables.items() if name not in ("answer_samples", "sample_scores")}
    older = made.model_copy(
        update={"id": f"{made.id[:-6]}ffffff", "schemas": {**made.schemas, "catalog": "0002"}, "tables": tables}
    )
    home.vault.write_manifest(older.id, older.written())
    copy = empty_home(tmp_path / "copy")
    home.restore(copy, older.id)
    assert dump(copy) == dump(home)


def test_parts_that_the_installation_never_had_are_not_asked_for(tmp_path: Path) -> None:
    home = empty_home(tmp_path / "home")
    catalog = home.catalog()
    catalog.migrate()
    catalog.close()
    add_version(home, 1)
    made = home.back_up()
    assert set(made.schemas) == {"catalog"}
    copy = empty_home(tmp_path / "copy")
    assert home.restore(copy).adapters == 1
    for name, adapter in made.adapters.items():
        verify(copy.folder / "artifacts" / name, name, adapter.digest)


def test_an_unused_state_has_nothing_to_back_up(tmp_path: Path) -> None:
    done = empty_home(tmp_path / "home").run("backup")
    assert done.exit_code == 3
    assert "has no tables: there is nothing to back up" in done.stderr


def test_a_state_that_is_behind_is_to_be_migrated_first(home: Home) -> None:
    with sqlite3.connect(home.folder / "state.db") as connection:
        connection.execute("UPDATE catalog_schema SET version_num = '0002'")
    connection.close()
    done = home.run("backup")
    assert done.exit_code == 3
    assert "run `loraplex migrate` first" in done.stderr
    assert not (home.place / "backups").exists()


def test_the_manifest_says_what_is_in_it(home: Home) -> None:
    made = home.back_up()
    again = Manifest.read(home.vault.manifest(made.id), made.id)
    assert again == made
    with home.house() as house:
        assert set(made.files) == {
            one.id for one in house.library.page(ALICE, after=None, ascending=True, limit=10, purpose=None).entries
        }
        add_file(house, "later.md", b"later")
    assert home.back_up().files.items() > made.files.items()
