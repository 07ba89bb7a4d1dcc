"""What searches see of a store: the documents whose passages are all there, in memory."""

import threading
from collections.abc import Iterable

from retrieval.selection import DocumentTable
from serving.knowledge.document_records import Documents
from serving.knowledge.store_records import Stores
from serving.knowledge.types import DocumentRecord, StoreRecord


class StoreView:
    """One store. Thread-safe; every search sees one consistent state of it."""

    def __init__(self, record: StoreRecord, served: Iterable[DocumentRecord] = ()) -> None:
        self._changing = threading.Lock()
        self.reset(record, served)

    def reset(self, record: StoreRecord, served: Iterable[DocumentRecord]) -> None:
        """Show another state, all at once."""
        with self._changing:
            self.record = record
            self._documents = {one.edition: one for one in served if one.edition is not None}
            self._editions = {one.file_id: number for number, one in self._documents.items()}
            self._table: DocumentTable | None = None

    def put(self, document: DocumentRecord) -> None:
        """Serve this edition of the document, and none before it."""
        with self._changing:
            documents = dict(self._documents)
            documents.pop(self._editions.pop(document.file_id, -1), None)
            if document.edition is not None:
                documents[document.edition] = document
                self._editions[document.file_id] = document.edition
            self._documents, self._table = documents, None

    def remove(self, file_ids: Iterable[str]) -> None:
        """Serve these no more; unknown ones are no error."""
        with self._changing:
            gone = {self._editions.pop(one) for one in file_ids if one in self._editions}
            if gone:
                self._documents = {number: one for number, one in self._documents.items() if number not in gone}
                self._table = None

    def seen(self) -> tuple[StoreRecord, DocumentTable, dict[int, DocumentRecord]]:
        """The store, its documents as the retriever selects from them, and their records by edition."""
        with self._changing:
            if self._table is None:
                self._table = DocumentTable({number: one.meta for number, one in self._documents.items()})
            return self.record, self._table, self._documents


class Publisher:
    """Brings views up to what the records say. Thread-safe.

    Records are read and shown under one lock, so that of two changes the later one is what stays visible: a document
    whose labels were tightened while it was being ingested must not reappear with the old ones.
    """

    def __init__(self, views: "Views", stores: Stores, documents: Documents) -> None:
        self._views = views
        self._stores = stores
        self._documents = documents
        self._publishing = threading.Lock()

    def document(self, store_id: str, *file_ids: str) -> None:
        """Show these documents as their records are now; those without one no more. Raises CatalogUnavailable."""
        with self._publishing:
            view = self._views.get(store_id)
            if view is None:
                return
            for file_id in file_ids:
                record = self._documents.get(store_id, file_id)
                if record is None:
                    view.remove([file_id])
                else:
                    view.put(record)

    def store(self, store_id: str) -> None:
        """Show a store and everything in it as the records are now. Raises CatalogUnavailable."""
        with self._publishing:
            record = self._stores.get(store_id)
            if record is None:
                self._views.drop(store_id)
            else:
                self._views.put(record, self._documents.served(store_id))

    def everything(self) -> None:
        """Show all stores. Raises CatalogUnavailable."""
        for record in self._stores.all():
            self.store(record.id)


class Views:
    """The views of all stores, by id. Thread-safe."""

    def __init__(self) -> None:
        self._views: dict[str, StoreView] = {}
        self._touched: set[str] = set()

    def put(self, record: StoreRecord, served: Iterable[DocumentRecord] = ()) -> None:
        """Show a store, new or in another state."""
        view = self._views.get(record.id)
        if view is None:
            self._views[record.id] = StoreView(record, served)
        else:
            view.reset(record, served)

    def drop(self, store_id: str) -> None:
        """Show a store no more."""
        self._views.pop(store_id, None)

    def get(self, store_id: str) -> StoreView | None:
        """One store's view."""
        return self._views.get(store_id)

    def touch(self, names: Iterable[str]) -> None:
        """These stores, by name or id, are in use."""
        self._touched.update(view.record.id for name in names if (view := self.find(name)) is not None)

    def touched(self) -> set[str]:
        """Stores that were used since this was last asked."""
        touched, self._touched = self._touched, set()
        return touched

    def find(self, name: str) -> StoreView | None:
        """A store by id, else the oldest of that name, one that the configuration keeps before all others."""
        if (view := self._views.get(name)) is not None:
            return view
        named = [view for view in self._views.values() if view.record.name == name]
        return min(named, key=lambda view: (not view.record.configured, view.record.serial), default=None)
