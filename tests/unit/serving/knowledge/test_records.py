"""The records of documents: what replaces what, whose turn it is, and what searches see of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.database import Database
from adapters.errors import CatalogUnavailable
from retrieval.types import Access
from serving.knowledge.document_records import Documents
from serving.knowledge.file_records import Files
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA
from serving.knowledge.types import DocumentRecord, FileRecord, StoreRecord, WrittenEdition
from serving.knowledge.views import Publisher, Views

EVERYTHING = Access(everything=True)


class Shelf:
    """One store and its records."""

    def __init__(self, database: Database) -> None:
        self.files = Files(database)
        self.stores = Stores(database)
        self.documents = Documents(database)
        self.views = Views()
        self.publisher = Publisher(self.views, self.stores, self.documents)
        self._clock = 1_000.0

    def store(self, store_id: str = "vs", name: str = "desk", **changes: Any) -> StoreRecord:
        """A new store."""
        fields: dict[str, Any] = {
            "serial": 0,
            "owner": "ops",
            "configured": False,
            "metadata": {},
            "labels": frozenset(),
            "created_at": 0,
            "last_active_at": 0,
            "expires_after_days": None,
            "index_name": "kb",
            "recipe": None,
            "building_name": None,
            "building_recipe": None,
        }
        record = self.stores.add(StoreRecord(id=store_id, name=name, **fields | changes))
        self.publisher.store(store_id)
        return record

    def attach(self, file_id: str, *replaces: str, labels: frozenset[str] = frozenset()) -> DocumentRecord:
        """Put a file into the store, a second after the last."""
        self._clock += 1
        if self.files.get(file_id) is None:
            self.files.add(FileRecord(file_id, 0, f"{file_id}.txt", 1, "d", "assistants", "ops", 0, None))
        row = {
            "store_id": "vs",
            "file_id": file_id,
            "attributes": {"labels": ", ".join(labels)} if labels else {},
            "labels": labels,
            "chunking": None,
            "replaces": list(replaces),
            "batch_id": None,
            "created_at": int(self._clock),
            "accepted_at": self._clock,
        }
        self.documents.attach([row])
        return self.now(file_id)

    def now(self, file_id: str) -> DocumentRecord:
        """The record as it is."""
        record = self.documents.get("vs", file_id)
        assert record is not None
        return record

    def complete(self, document: DocumentRecord) -> list[str] | None:
        """Say that its passages are all there."""
        number = self.documents.begin_edition("kb")
        return self.documents.complete(document, WrittenEdition(number, 1, 1), title="")

    def seen(self) -> set[str]:
        """Files that searches see."""
        view = self.views.get("vs")
        assert view is not None
        return {document.file_id for document in view.seen()[2].values()}


@pytest.fixture
def shelf(state_url: str) -> Iterator[Shelf]:
    """A shelf with a store and nothing in it."""
    database = Database(state_url, SCHEMA)
    database.migrate()
    made = Shelf(database)
    made.store()
    yield made
    database.close()


def test_what_is_replaced_leaves_with_the_completion_and_not_before(shelf: Shelf) -> None:
    shelf.complete(shelf.attach("old"))
    new = shelf.attach("new", "old")
    assert shelf.documents.get("vs", "old") is not None
    assert shelf.complete(new) == ["old"]
    assert shelf.documents.get("vs", "old") is None


def test_a_file_attached_again_after_its_successor_is_not_replaced_by_it(shelf: Shelf) -> None:
    shelf.complete(shelf.attach("first"))
    second = shelf.attach("second", "first")
    shelf.attach("first", "second")
    assert shelf.complete(second) == []
    assert shelf.complete(shelf.now("first")) == ["second"]


def test_a_document_that_was_labelled_meanwhile_is_not_replaced(shelf: Shelf) -> None:
    old = shelf.attach("old")
    shelf.complete(old)
    new = shelf.attach("new", "old")
    shelf.documents.set_attributes(old.id, {"labels": "finance"}, frozenset({"finance"}))
    assert shelf.complete(new) == []
    assert shelf.now("old").labels == {"finance"}


def test_an_edition_of_what_was_changed_since_does_not_count(shelf: Shelf) -> None:
    document = shelf.attach("one")
    shelf.attach("one")
    assert shelf.complete(document) is None
    assert shelf.now("one").edition is None
    shelf.documents.detach("vs", "one")
    assert shelf.complete(document) is None


def test_one_document_that_cannot_go_on_lets_the_others_pass(shelf: Shelf) -> None:
    first, second = shelf.attach("first"), shelf.attach("second")
    assert shelf.documents.pending() == first
    assert shelf.documents.pending({first.id}) == second
    assert shelf.documents.pending({first.id, second.id}) is None


def test_attempts_are_kept_until_the_document_is_attached_anew(shelf: Shelf) -> None:
    shelf.documents.set_attempts(shelf.attach("one"), 2)
    assert shelf.now("one").attempts == 2
    assert shelf.attach("one").attempts == 0


def test_old_and_new_are_never_seen_together(shelf: Shelf) -> None:
    shelf.complete(shelf.attach("old"))
    shelf.publisher.document("vs", "old")
    assert shelf.seen() == {"old"}
    replaced = shelf.complete(shelf.attach("new", "old"))
    assert shelf.seen() == {"old"}
    shelf.publisher.document("vs", "new", *replaced or ())
    assert shelf.seen() == {"new"}


def test_a_view_of_which_nobody_knows_is_shown_anew(shelf: Shelf) -> None:
    def lose_the_connection() -> None:
        with shelf.publisher.changing("vs"):
            shelf.complete(shelf.attach("one"))
            raise CatalogUnavailable("the connection broke after the commit")

    with pytest.raises(CatalogUnavailable):
        lose_the_connection()
    assert shelf.seen() == set()
    shelf.publisher.repair()
    assert shelf.seen() == {"one"}


def test_what_another_process_has_changed_is_seen_at_the_next_look(shelf: Shelf) -> None:
    shelf.store("other", "other")
    shelf.complete(shelf.attach("a"))
    shelf.publisher.document("vs", "a")
    assert shelf.seen() == {"a"}
    shelf.stores.delete("other")
    shelf.documents.set_attributes(shelf.now("a").id, {}, frozenset({"hr"}))
    assert shelf.views.find("other", EVERYTHING) is not None
    shelf.publisher.everything()
    assert shelf.views.find("other", EVERYTHING) is None
    view = shelf.views.get("vs")
    assert view is not None
    assert [one.labels for one in view.seen()[2].values()] == [frozenset({"hr"})]


def test_leftovers_are_the_editions_that_no_document_has(shelf: Shelf) -> None:
    shelf.complete(shelf.attach("one"))
    shelf.complete(shelf.attach("one"))
    abandoned = shelf.documents.begin_edition("kb")
    first = abandoned - 2
    assert shelf.documents.leftovers() == {"kb": [first, abandoned]}
    shelf.documents.forget_editions([first, abandoned])
    assert shelf.documents.leftovers() == {}


def test_a_name_means_a_store_that_the_caller_may_see(shelf: Shelf) -> None:
    shelf.store("vs_hidden", "prices", labels=frozenset({"hr"}))
    shelf.store("vs_open", "prices")
    shelf.store("vs_kept", "handbook", configured=True)
    shelf.store("vs_other", "handbook")

    def found(name: str, access: Access) -> str | None:
        view = shelf.views.find(name, access)
        return None if view is None else view.record.id

    assert found("prices", EVERYTHING) == "vs_hidden"
    assert found("prices", Access()) == "vs_open"
    assert found("vs_hidden", Access()) is None
    assert found("handbook", Access()) == "vs_kept"
    assert found("vs_other", Access()) == "vs_other"
    assert found("nothing", EVERYTHING) is None
