"""What becomes of files that several callers have to do with, and of bytes that nobody has."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from adapters.errors import CatalogUnavailable
from serving.auth import Caller
from serving.errors import InvalidRequest, ObjectNotFound
from tests.knowledge_house import ALICE, BOB, ROOT, House, open_house


@pytest.fixture
def house(tmp_path: Path, state_url: str) -> Iterator[House]:
    with open_house(tmp_path, state_url) as opened:
        yield opened


def test_deleting_a_file_leaves_the_document_that_the_caller_may_not_see(house: House) -> None:
    file_id = house.library.upload(ALICE, "a.txt", b"a", "assistants").id
    public, closed = house.store(file_id), house.store(file_id, labels="finance")
    house.library.delete(BOB, file_id)
    with pytest.raises(ObjectNotFound):
        house.library.file(BOB, file_id)
    assert house.documents.get(public, file_id) is None
    assert house.documents.get(closed, file_id) is not None
    assert house.library.content(ALICE, file_id)[1] == b"a"


@pytest.mark.parametrize("caller", [ALICE, ROOT], ids=lambda caller: caller.name)
def test_a_caller_who_sees_a_file_everywhere_deletes_it_everywhere(house: House, caller: Caller) -> None:
    file_id = house.library.upload(ALICE, "a.txt", b"a", "assistants").id
    places = [house.store(file_id), house.store(file_id, labels="finance")]
    house.library.delete(caller, file_id)
    assert [house.documents.get(place, file_id) for place in places] == [None, None]
    assert house.blobs.get(file_id) is None
    with pytest.raises(ObjectNotFound):
        house.library.file(ROOT, file_id)


@pytest.mark.parametrize("caller", [ALICE, ROOT], ids=lambda caller: caller.name)
def test_a_name_that_the_configuration_gives_is_not_to_be_had(house: House, caller: Caller) -> None:
    with pytest.raises(InvalidRequest) as refused:
        house.shelves.create(caller, "rules", {})
    assert refused.value.param == "name"
    store_id = house.shelves.create(caller, "mine", {}).record.id
    with pytest.raises(InvalidRequest) as refused:
        house.shelves.update(caller, store_id, {"name": "rules"})
    assert refused.value.param == "name"
    assert [one.name for one in house.shelves.stores(caller)] == ["mine"]


def test_other_names_may_be_given_twice_or_not_at_all(house: House) -> None:
    for name in ("mine", "mine", "", ""):
        house.shelves.create(ALICE, name, {})
    assert [one.name for one in house.shelves.stores(ALICE)] == ["mine", "mine", "", ""]


def test_an_upload_without_a_record_leaves_no_bytes(house: House) -> None:
    with house.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE knowledge_files RENAME TO elsewhere")
    with pytest.raises(CatalogUnavailable):
        house.library.upload(ALICE, "a.txt", b"a", "assistants")
    assert list(house.folder.iterdir()) == []


def test_old_bytes_without_a_record_are_deleted_and_nothing_else(house: House) -> None:
    kept = house.library.upload(ALICE, "a.txt", b"a", "assistants").id
    young, old, partial = (f"file-{digit * 32}" for digit in "abc")
    foreign = "README"
    for name in (young, old, f"{partial}.partial", foreign):
        (house.folder / name).write_bytes(b"x")
    long_ago = time.time() - 3700
    for name in (kept, old, f"{partial}.partial", foreign):
        os.utime(house.folder / name, (long_ago, long_ago))
    house.library.tidy()
    assert {one.name for one in house.folder.iterdir()} == {kept, young, foreign}


def test_there_is_nothing_to_tidy_before_the_first_upload(house: House) -> None:
    house.library.tidy()
    assert house.blobs.entries() == []


def test_what_is_told_of_a_store_waits_until_searches_know_it_as_well(house: House) -> None:
    file_id = house.library.upload(ALICE, "a.txt", b"a", "assistants").id
    store_id = house.store(file_id)
    batch = house.shelves.create_batch(ALICE, store_id, [])
    reads = (
        lambda: house.shelves.store(ALICE, store_id),
        lambda: house.shelves.document(ALICE, store_id, file_id),
        lambda: house.shelves.documents(ALICE, store_id, after=None, ascending=True, limit=9),
        lambda: house.shelves.batch(ALICE, store_id, batch.id),
    )
    with ThreadPoolExecutor(len(reads)) as threads:
        with house.publisher.changing(store_id):
            told = [threads.submit(read) for read in reads]
            assert wait(told, timeout=0.3).done == set()
        assert wait(told, timeout=20).not_done == set()
    assert [one.exception() for one in told] == [None] * len(reads)
