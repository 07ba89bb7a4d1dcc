"""What searches see of a store: the documents whose passages are all there, in memory."""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from retrieval.selection import DocumentTable
from retrieval.types import Access
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

    def apply(self, served: Sequence[DocumentRecord], gone: Collection[str]) -> None:
        """Serve these editions and none before them, and these files no more, all at once."""
        with self._changing:
            documents, editions = dict(self._documents), dict(self._editions)
            for file_id in (*gone, *(one.file_id for one in served)):
                documents.pop(editions.pop(file_id, -1), None)
            for one in served:
                if one.edition is not None:
                    documents[one.edition] = one
                    editions[one.file_id] = one.edition
            self._documents, self._editions, self._table = documents, editions, None

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
        # Taken again by a change of several stores.
        self._changing = threading.RLock()
        self._doubtful: set[str] = set()

    @contextmanager
    def changing(self, store_id: str) -> Iterator[None]:
        """Around a change of a store's records and its publication: where either raises, nobody knows what holds."""
        with self._changing:
            try:
                yield
            except BaseException:
                self._doubtful.add(store_id)
                raise

    def catch_up(self) -> None:
        """Wait until searches see what the records say now: a change is recorded first, and then shown."""
        with self._changing:
            pass

    def repair(self) -> None:
        """Show anew the stores of which nobody knows whether their views are right. Raises CatalogUnavailable."""
        for store_id in list(self._doubtful):
            self._doubtful.discard(store_id)
            with self.changing(store_id):
                self.store(store_id)

    def document(self, store_id: str, *file_ids: str) -> None:
        """Show these documents as their records are now, all at once. Raises CatalogUnavailable."""
        with self._publishing:
            view = self._views.get(store_id)
            if view is None:
                return
            records = {file_id: self._documents.get(store_id, file_id) for file_id in file_ids}
            served = [record for record in records.values() if record is not None]
            view.apply(served, [file_id for file_id, record in records.items() if record is None])

    def store(self, store_id: str) -> None:
        """Show a store and everything in it as the records are now. Raises CatalogUnavailable."""
        with self._publishing:
            record = self._stores.get(store_id)
            if record is None:
                self._views.drop(store_id)
            else:
                self._views.put(record, self._documents.served(store_id))

    def everything(self) -> None:
        """Show all stores, and none that another process has deleted. Raises CatalogUnavailable."""
        there = [record.id for record in self._stores.all()]
        for store_id in (*there, *self._views.ids().difference(there)):
            self.store(store_id)


class Views:
    """The views of all stores, by id. Thread-safe."""

    def __init__(self) -> None:
        self._views: dict[str, StoreView] = {}
        self._touched: set[str] = set()
        self._touching = threading.Lock()

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

    def ids(self) -> set[str]:
        """Which stores are shown."""
        return set(self._views)

    def get(self, store_id: str) -> StoreView | None:
        """One store's view."""
        return self._views.get(store_id)

    def touch(self, store_id: str) -> None:
        """The store is in use."""
        with self._touching:
            self._touched.add(store_id)

    def touched(self) -> set[str]:
        """Stores that were used since this was last asked."""
        with self._touching:
            touched, self._touched = self._touched, set()
        return touched

    def find(self, name: str, access: Access) -> StoreView | None:
        """A store by id or name, of those that the caller may see: one that the configuration keeps before others, then
        the oldest."""
        visible = [view for view in list(self._views.values()) if access.allows(view.record.labels)]
        named = [view for view in visible if name in (view.record.id, view.record.name)]
        return min(
            named,
            key=lambda view: (view.record.id != name, not view.record.configured, view.record.serial),
            default=None,
        )
