"""What callers do with vector stores, each only with what they may see."""

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.errors import AttributesInvalid, VectorStoreNotFound
from retrieval.filters import parse_attributes
from retrieval.types import Attributes
from serving.auth import Caller
from serving.errors import InvalidRequest, ObjectNotFound, PermissionDenied
from serving.knowledge.document_records import Documents
from serving.knowledge.library import Library
from serving.knowledge.pages import Page
from serving.knowledge.store_records import Stores
from serving.knowledge.types import (
    Chunking,
    Counts,
    DocumentRecord,
    StoreRecord,
    document_meta,
    new_store,
    parse_labels,
)
from serving.knowledge.views import Publisher

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is to be put into a store."""

    file_id: str
    attributes: Attributes
    chunking: Chunking | None = None


@dataclass(frozen=True, slots=True)
class ShelvedStore:
    """A store, and what the caller may know of its content."""

    record: StoreRecord
    counts: Counts
    expired: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that were put into a store together."""

    id: str
    store_id: str
    created_at: int
    counts: Counts


class Shelves:
    """The vector stores. Blocking, thread-safe.

    A store is seen by keys that have one of its labels, or by all where it has none; a document in it by those that
    besides have one of the document's. What a caller may not see does not exist for it, and is not counted.

    Args:
        reserved: names that the configuration gives to its own stores, and callers to none.
    """

    def __init__(
        self,
        stores: Stores,
        documents: Documents,
        library: Library,
        publisher: Publisher,
        *,
        changed: Callable[[], None],
        reserved: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._reserved = frozenset(reserved)
        self._documents = documents
        self._library = library
        self._publisher = publisher
        self._changed = changed
        self._now = now
        # What a file replaces is found before it is attached: of two files of one source, one must see the other.
        self._attaching = threading.Lock()

    def create(
        self, caller: Caller, name: str, metadata: Mapping[str, str], *, expires_after_days: int | None = None
    ) -> ShelvedStore:
        """A new store. Raises PermissionDenied, AttributesInvalid; InvalidRequest for a reserved name."""
        caller.require_writer()
        self._require_free(name)
        now = int(self._now())
        record = new_store(
            name,
            caller.name,
            now,
            metadata=metadata,
            labels=self._own_labels(caller, metadata.get("labels")),
            expires_after_days=expires_after_days,
        )
        with self._publisher.changing(record.id):
            self._stores.add(record)
            self._publisher.store(record.id)
        return self.store(caller, record.id)

    def store(self, caller: Caller, store_id: str) -> ShelvedStore:
        """One store. Raises VectorStoreNotFound."""
        record = self._seen(caller, store_id)
        counts = self._documents.counts(record.id, self._labels(caller, record.id))
        self._publisher.catch_up()
        return ShelvedStore(record, counts, is_expired(record, self._now()))

    def stores(self, caller: Caller) -> list[StoreRecord]:
        """Every store that the caller may see, the oldest first."""
        return [record for record in self._stores.all() if caller.access.allows(record.labels)]

    def update(self, caller: Caller, store_id: str, changes: Mapping[str, Any]) -> ShelvedStore:
        """Change name, metadata or expiry. Raises VectorStoreNotFound, and as :meth:`create`."""
        caller.require_writer()
        record = self._seen(caller, store_id)
        self._require_owner(caller, record)
        values = dict(changes)
        self._require_free(values.get("name"))
        if "metadata" in values:
            values["labels"] = self._own_labels(caller, values["metadata"].get("labels"))
        if values:
            with self._publisher.changing(record.id):
                self._stores.change(record.id, **values)
                self._publisher.store(record.id)
        return self.store(caller, store_id)

    def delete(self, caller: Caller, store_id: str) -> None:
        """Delete a store; its files stay. Raises VectorStoreNotFound, PermissionDenied."""
        caller.require_writer()
        record = self._seen(caller, store_id)
        self._require_owner(caller, record)
        with self._publisher.changing(record.id):
            self._stores.delete(record.id)
            self._publisher.store(record.id)
        self._changed()

    def attach(
        self, caller: Caller, store_id: str, attachments: Sequence[Attachment], *, batch_id: str | None = None
    ) -> None:
        """Put files into a store, to be ingested. One with the attribute ``source`` takes the place of what the store
        holds of that source, once it is ingested itself.

        Raises:
            VectorStoreNotFound, ObjectNotFound, PermissionDenied, AttributesInvalid: nothing is attached.
        """
        caller.require_writer()
        record = self._seen(caller, store_id)
        if is_expired(record, self._now()):
            raise InvalidRequest("The vector store has expired.", param="vector_store_id")
        with self._attaching, self._publisher.changing(record.id):
            rows = [self._row(caller, record, attachment, batch_id) for attachment in attachments]
            _replace_earlier(rows)
            self._documents.attach(rows)
            # Its passages are served until they are made anew, but to whom, is as it is said now.
            self._publisher.document(record.id, *(attachment.file_id for attachment in attachments))
        self._changed()

    def document(self, caller: Caller, store_id: str, file_id: str) -> DocumentRecord:
        """A file in a store. Raises VectorStoreNotFound, ObjectNotFound."""
        self._seen(caller, store_id)
        record = self._documents.get(store_id, file_id)
        if record is None or not caller.access.allows(record.labels):
            raise ObjectNotFound(f"No file {file_id[:80]} in this vector store.", param="file_id")
        self._publisher.catch_up()
        return record

    def documents(
        self,
        caller: Caller,
        store_id: str,
        *,
        after: str | None,
        ascending: bool,
        limit: int,
        status: str | None = None,
        batch_id: str | None = None,
    ) -> Page:
        """Files in a store, by the time of their making. Raises VectorStoreNotFound, ObjectNotFound."""
        self._seen(caller, store_id)
        place = None
        if after is not None:
            last = self.document(caller, store_id, after)
            place = (last.created_at, last.id)
        found = self._documents.page(
            store_id,
            self._labels(caller, store_id),
            after=place,
            ascending=ascending,
            limit=limit + 1,
            status=status,
            batch_id=batch_id,
        )
        self._publisher.catch_up()
        return Page(found[:limit], has_more=len(found) > limit)

    def set_attributes(self, caller: Caller, store_id: str, file_id: str, attributes: Attributes) -> DocumentRecord:
        """Describe a document anew; searches know at once. Raises as :meth:`document`, and PermissionDenied."""
        caller.require_writer()
        record = self.document(caller, store_id, file_id)
        labels = self._own_labels(caller, attributes.get("labels"))
        document_meta(record.file_id, record.filename, record.title, attributes)
        with self._publisher.changing(store_id):
            self._documents.set_attributes(record.id, attributes, labels)
            self._publisher.document(store_id, file_id)
        return self.document(caller, store_id, file_id)

    def detach(self, caller: Caller, store_id: str, file_id: str) -> None:
        """Take a file out of a store. Raises as :meth:`document`, and PermissionDenied."""
        caller.require_writer()
        record = self.document(caller, store_id, file_id)
        with self._publisher.changing(store_id):
            self._documents.detach(store_id, record.file_id)
            self._publisher.document(store_id, record.file_id)
        self._changed()

    def create_batch(self, caller: Caller, store_id: str, attachments: Sequence[Attachment]) -> Batch:
        """Put several files into a store. Raises as :meth:`attach`."""
        caller.require_writer()
        self._seen(caller, store_id)
        batch_id = f"vsfb_{uuid.uuid4().hex}"
        self._documents.add_batch(batch_id, store_id, int(self._now()))
        self.attach(caller, store_id, attachments, batch_id=batch_id)
        return self.batch(caller, store_id, batch_id)

    def batch(self, caller: Caller, store_id: str, batch_id: str) -> Batch:
        """How a batch fares. Raises VectorStoreNotFound, ObjectNotFound."""
        self._seen(caller, store_id)
        created_at = self._documents.batch_created_at(batch_id, store_id)
        if created_at is None:
            raise ObjectNotFound(f"No batch {batch_id[:80]} in this vector store.", param="batch_id")
        counts = self._documents.counts(store_id, self._labels(caller, store_id), batch_id=batch_id)
        self._publisher.catch_up()
        return Batch(batch_id, store_id, created_at, counts)

    def cancel_batch(self, caller: Caller, store_id: str, batch_id: str) -> Batch:
        """Do not ingest what of a batch still waits. Raises as :meth:`batch`, and PermissionDenied."""
        caller.require_writer()
        self.batch(caller, store_id, batch_id)
        self._documents.cancel_batch(batch_id, self._labels(caller, store_id))
        return self.batch(caller, store_id, batch_id)

    def note_use(self, store_ids: Iterable[str]) -> None:
        """These stores were searched lately."""
        for store_id in store_ids:
            self._stores.change(store_id, last_active_at=int(self._now()))

    def expire(self) -> None:
        """Empty the stores whose time is over; their records stay, to say so."""
        for record in self._stores.all():
            if is_expired(record, self._now()) and record.index_name is not None:
                with self._publisher.changing(record.id):
                    self._documents.detach_all(record.id)
                    self._stores.change(
                        record.id, index_name=None, recipe=None, building_name=None, building_recipe=None
                    )
                    self._publisher.store(record.id)
                self._changed()

    def _row(self, caller: Caller, store: StoreRecord, attachment: Attachment, batch_id: str | None) -> dict[str, Any]:
        file = self._library.file(caller, attachment.file_id)
        present = self._documents.get(store.id, file.id)
        if present is not None and not caller.access.allows(present.labels):
            raise ObjectNotFound(f"No such File object: {file.id}", param="file_id")
        attributes = parse_attributes(attachment.attributes)
        meta = document_meta(file.id, file.filename, "", attributes)
        labels = self._own_labels(caller, attributes.get("labels"))
        source = attributes.get("source")
        replaces = (
            self._documents.of_source(store.id, source, self._labels(caller, store.id))
            if isinstance(source, str) and source
            else []
        )
        now = self._now()
        return {
            "store_id": store.id,
            "file_id": file.id,
            "attributes": attributes,
            "labels": meta.labels | labels,
            "chunking": attachment.chunking,
            "replaces": [one for one in replaces if one != file.id],
            "batch_id": batch_id,
            "created_at": int(now),
            "accepted_at": now,
        }

    def _seen(self, caller: Caller, store_id: str) -> StoreRecord:
        record = self._stores.get(store_id)
        if record is None or not caller.access.allows(record.labels):
            raise VectorStoreNotFound(f"There is no vector store `{store_id[:80]}`.")
        return record

    def _labels(self, caller: Caller, store_id: str) -> list[frozenset[str]]:
        """The sets of labels in a store whose documents the caller may see."""
        return [labels for labels in self._documents.label_sets(store_id) if caller.access.allows(labels)]

    def _own_labels(self, caller: Caller, value: Any) -> frozenset[str]:
        """Labels that the caller may give: those that it has. Raises AttributesInvalid, PermissionDenied."""
        labels = parse_labels(value)
        if not caller.admin and (foreign := labels - caller.labels):
            raise PermissionDenied(f"Your API key does not have the label `{min(foreign)}`.")
        return labels

    def _require_free(self, name: str | None) -> None:
        if name in self._reserved:
            raise InvalidRequest(f"The configuration keeps the vector store `{name}`: use another name.", param="name")

    def _require_owner(self, caller: Caller, record: StoreRecord) -> None:
        if record.configured:
            raise PermissionDenied(f"The vector store `{record.name}` is kept by the configuration file.")
        if not caller.admin and record.owner != caller.name:
            raise PermissionDenied("Only the key that made a vector store, or an administrator, may change it.")


def _replace_earlier(rows: Sequence[dict[str, Any]]) -> None:
    """Of several files of one source in one request, the last is to stay."""
    earlier: dict[str, list[str]] = {}
    for row in rows:
        source = row["attributes"].get("source")
        if isinstance(source, str) and source:
            known = earlier.setdefault(source, [])
            row["replaces"] = list(dict.fromkeys(one for one in (*row["replaces"], *known) if one != row["file_id"]))
            known.append(row["file_id"])


def is_expired(record: StoreRecord, now: float) -> bool:
    """Whether a store has gone unused for longer than it was to live."""
    days = record.expires_after_days
    return days is not None and record.last_active_at + days * _SECONDS_A_DAY <= now


def attachment(file_id: str, attributes: object, chunking: Chunking | None) -> Attachment:
    """A file to attach, out of a request. Raises AttributesInvalid."""
    if attributes is not None and not isinstance(attributes, Mapping):
        raise AttributesInvalid("attributes must be an object of strings, numbers and booleans")
    return Attachment(file_id, parse_attributes(attributes or {}), chunking)
