"""Records of documents: the files in vector stores, and the editions of them that indexes hold."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from adapters.database import Database
from serving.knowledge.tables import batches, documents, editions, files
from serving.knowledge.types import (
    Chunking,
    Counts,
    DocumentRecord,
    DocumentStatus,
    WrittenEdition,
    canonical_labels,
    labels_of,
)

_IN_PROGRESS = DocumentStatus.IN_PROGRESS.value
_AT_ONCE = 500


class Documents:
    """The documents of all stores. Blocking, thread-safe. Every method may raise CatalogUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attach(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Put files into stores, to be ingested; a file that is there already is ingested anew.

        Args:
            wanted: columns of each document. What is served of it now is served until the new edition is whole.
        """
        with self._database.writing() as connection:
            for values in wanted:
                chunking = values["chunking"]
                row = {
                    **values,
                    "status": _IN_PROGRESS,
                    "attempts": 0,
                    "error_code": None,
                    "error_message": None,
                    "labels": canonical_labels(values["labels"]),
                    "chunking": None if chunking is None else asdict(chunking),
                }
                row["replaces"] = _with_labels(connection, row["store_id"], row["replaces"])
                same = (documents.c.store_id == row["store_id"]) & (documents.c.file_id == row["file_id"])
                if connection.execute(update(documents).where(same).values(**row)).rowcount == 0:
                    fresh = {"title": "", "passages": 0, "usage_bytes": 0}
                    connection.execute(insert(documents).values(**fresh, **row))

    def get(self, store_id: str, file_id: str) -> DocumentRecord | None:
        """One document."""
        query = _joined().where(documents.c.store_id == store_id, documents.c.file_id == file_id)
        return next(iter(self._read(query)), None)

    def of_store(self, store_id: str) -> list[DocumentRecord]:
        """Every document of a store, in the order of their making."""
        query = _joined().where(documents.c.store_id == store_id)
        return self._read(query.order_by(documents.c.created_at, documents.c.id))

    def served(self, store_id: str) -> list[DocumentRecord]:
        """Every document of a store that is searched."""
        return self._read(_joined().where(documents.c.store_id == store_id, documents.c.edition.is_not(None)))

    def page(
        self,
        store_id: str,
        labels: Collection[frozenset[str]],
        *,
        after: tuple[int, int] | None,
        ascending: bool,
        limit: int,
        status: str | None,
        batch_id: str | None,
    ) -> list[DocumentRecord]:
        """Up to ``limit`` documents with one of these sets of labels, by the time of their making, then by id.

        Args:
            after: time and id behind which the page begins.
        """
        moment = (documents.c.created_at, documents.c.id)
        order = moment if ascending else tuple(column.desc() for column in moment)
        query = _joined().where(documents.c.store_id == store_id, _labelled(labels)).order_by(*order).limit(limit)
        if after is not None:
            at, number = after
            later = (documents.c.created_at > at) | ((documents.c.created_at == at) & (documents.c.id > number))
            earlier = (documents.c.created_at < at) | ((documents.c.created_at == at) & (documents.c.id < number))
            query = query.where(later if ascending else earlier)
        if status is not None:
            query = query.where(documents.c.status == status)
        if batch_id is not None:
            query = query.where(documents.c.batch_id == batch_id)
        return self._read(query)

    def of_source(self, store_id: str, source: str, labels: Collection[frozenset[str]]) -> list[str]:
        """Files in a store whose attribute ``source`` is this."""
        query = select(documents.c.file_id).where(
            documents.c.store_id == store_id,
            _labelled(labels),
            documents.c.attributes["source"].as_string() == source,
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def label_sets(self, store_id: str) -> list[frozenset[str]]:
        """The different sets of labels of a store's documents."""
        query = select(documents.c.labels).where(documents.c.store_id == store_id).distinct()
        with self._database.reading() as connection:
            return [labels_of(value) for value in connection.execute(query).scalars()]

    def counts(self, store_id: str, labels: Collection[frozenset[str]], *, batch_id: str | None = None) -> Counts:
        """How many documents with one of these sets of labels are in which state."""
        query = select(documents.c.status, func.count(), func.sum(documents.c.usage_bytes)).where(
            documents.c.store_id == store_id, _labelled(labels)
        )
        if batch_id is not None:
            query = query.where(documents.c.batch_id == batch_id)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(documents.c.status)).all()
        by_status = {status: number for status, number, _ in rows}
        return Counts(**by_status, usage_bytes=sum(int(size or 0) for _, _, size in rows))

    def set_attributes(self, document_id: int, attributes: Mapping[str, Any], labels: frozenset[str]) -> None:
        """Change what is known of a document, not its text."""
        with self._database.writing() as connection:
            connection.execute(
                update(documents)
                .where(documents.c.id == document_id)
                .values(attributes=attributes, labels=canonical_labels(labels))
            )

    def detach(self, store_id: str, file_id: str) -> None:
        """Take a file out of a store."""
        with self._database.writing() as connection:
            connection.execute(
                delete(documents).where(documents.c.store_id == store_id, documents.c.file_id == file_id)
            )

    def detach_all(self, store_id: str) -> None:
        """Take every file out of a store."""
        with self._database.writing() as connection:
            connection.execute(delete(documents).where(documents.c.store_id == store_id))

    # What the ingestion asks.

    def pending(self, passed_over: Collection[int] = ()) -> DocumentRecord | None:
        """The document that has waited longest to be ingested.

        Args:
            passed_over: ids of documents whose turn is later.
        """
        query = _joined().where(documents.c.status == _IN_PROGRESS, documents.c.id.not_in(passed_over))
        return next(iter(self._read(query.order_by(documents.c.accepted_at, documents.c.id).limit(1))), None)

    def set_attempts(self, document: DocumentRecord, attempts: int) -> None:
        """Note how often an ingestion was begun and did not come to an end."""
        with self._database.writing() as connection:
            _changed(connection, document, {"attempts": attempts})

    def ingest_again(self, store_id: str) -> None:
        """Have all that a store has served ingested from the beginning."""
        served = (documents.c.store_id == store_id) & documents.c.edition.is_not(None)
        anew = {"status": _IN_PROGRESS, "edition": None, "next_edition": None}
        with self._database.writing() as connection:
            connection.execute(update(documents).where(served).values(**anew))

    def unbuilt(self, store_id: str) -> DocumentRecord | None:
        """A document that is served and is not in the index that is being built."""
        query = _joined().where(
            documents.c.store_id == store_id, documents.c.edition.is_not(None), documents.c.next_edition.is_(None)
        )
        return next(iter(self._read(query.order_by(documents.c.id).limit(1))), None)

    def begin_edition(self, index_name: str) -> int:
        """A number for passages that are about to be written to an index."""
        with self._database.writing() as connection:
            key = connection.execute(insert(editions).values(index_name=index_name)).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def waiting(self) -> int:
        """How many documents wait to be ingested."""
        query = select(func.count()).select_from(documents).where(documents.c.status == _IN_PROGRESS)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def complete(self, document: DocumentRecord, edition: WrittenEdition, *, title: str) -> list[str] | None:
        """Make an edition that is whole the one that is searched; what it replaces leaves in the same transaction.

        Gives the files that left: not those that were attached again since, or whose labels were changed. None, and
        nothing changed, where the document has left or was changed since ``document`` was read.
        """
        values = {
            "status": DocumentStatus.COMPLETED.value,
            "edition": edition.number,
            "next_edition": None,
            "title": title,
            "passages": edition.passages,
            "usage_bytes": edition.bytes,
            "replaces": [],
            "attempts": 0,
        }
        with self._database.writing() as connection:
            if not _changed(connection, document, values):
                return None
            return [file_id for file_id, labels in document.replaces if _left(connection, document, file_id, labels)]

    def complete_next(self, document: DocumentRecord, edition: int) -> bool:
        """Note the edition in the index that is being built. False as :meth:`complete`."""
        with self._database.writing() as connection:
            return _changed(connection, document, {"next_edition": edition}, only_pending=False)

    def fail(self, document: DocumentRecord, code: str, message: str) -> None:
        """Say why a document could not be ingested; what is served of it stays."""
        failed = {"status": DocumentStatus.FAILED.value, "error_code": code, "error_message": message}
        with self._database.writing() as connection:
            _changed(connection, document, failed)

    def withdraw(self, document: DocumentRecord, code: str, message: str) -> None:
        """The same for one whose passages must not be served any longer."""
        failed = {"status": DocumentStatus.FAILED.value, "error_code": code, "error_message": message}
        with self._database.writing() as connection:
            _changed(connection, document, {**failed, "edition": None, "next_edition": None}, only_pending=False)

    def leftovers(self) -> dict[str, list[int]]:
        """Numbers of editions that no document has any more, by index."""
        used = select(documents.c.id).where(documents.c.edition == editions.c.number)
        used_next = select(documents.c.id).where(documents.c.next_edition == editions.c.number)
        query = select(editions.c.index_name, editions.c.number).where(~used.exists(), ~used_next.exists())
        found: dict[str, list[int]] = {}
        with self._database.reading() as connection:
            for name, number in connection.execute(query.order_by(editions.c.number)):
                found.setdefault(name, []).append(number)
        return found

    def forget_editions(self, numbers: Sequence[int]) -> None:
        """Their passages are gone from the index."""
        with self._database.writing() as connection:
            for start in range(0, len(numbers), _AT_ONCE):
                part = numbers[start : start + _AT_ONCE]
                connection.execute(delete(editions).where(editions.c.number.in_(part)))

    # Batches.

    def add_batch(self, batch_id: str, store_id: str, now: int) -> None:
        """Note a batch, to which documents may belong."""
        with self._database.writing() as connection:
            connection.execute(insert(batches).values(id=batch_id, store_id=store_id, created_at=now))

    def batch_created_at(self, batch_id: str, store_id: str) -> int | None:
        """When a batch of this store was made; None for an unknown one."""
        query = select(batches.c.created_at).where(batches.c.id == batch_id, batches.c.store_id == store_id)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def cancel_batch(self, batch_id: str, labels: Collection[frozenset[str]]) -> None:
        """Its documents with one of these sets of labels that still wait are not ingested."""
        waiting = (documents.c.batch_id == batch_id) & (documents.c.status == _IN_PROGRESS) & _labelled(labels)
        with self._database.writing() as connection:
            connection.execute(
                update(documents).where(waiting).values(status=DocumentStatus.CANCELLED.value, replaces=[])
            )

    def _read(self, query: Select[Any]) -> list[DocumentRecord]:
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]


def _joined() -> Select[Any]:
    return select(documents, files.c.filename, files.c.sha256, files.c.bytes).join(
        files, files.c.id == documents.c.file_id
    )


def _labelled(labels: Collection[frozenset[str]]) -> Any:
    return documents.c.labels.in_([canonical_labels(one) for one in labels])


def _changed(
    connection: Connection, document: DocumentRecord, values: Mapping[str, Any], *, only_pending: bool = True
) -> bool:
    """Whether the document was still as it was read, and is changed."""
    same = (documents.c.id == document.id) & (documents.c.accepted_at == document.accepted_at)
    if only_pending:
        same &= documents.c.status == _IN_PROGRESS
    return bool(connection.execute(update(documents).where(same).values(**values)).rowcount)


def _with_labels(connection: Connection, store_id: str, file_ids: Sequence[str]) -> list[tuple[str, str]]:
    query = select(documents.c.file_id, documents.c.labels).where(
        documents.c.store_id == store_id, documents.c.file_id.in_(file_ids)
    )
    return [(file_id, labels) for file_id, labels in connection.execute(query)]


def _left(connection: Connection, newer: DocumentRecord, file_id: str, labels: str) -> bool:
    """Take out what a document replaces, if it is what it was."""
    same = (
        (documents.c.store_id == newer.store_id)
        & (documents.c.file_id == file_id)
        & (documents.c.labels == labels)
        & (documents.c.accepted_at < newer.accepted_at)
    )
    return bool(connection.execute(delete(documents).where(same)).rowcount)


def _record(row: Any) -> DocumentRecord:
    chunking = row["chunking"]
    values = {name: row[name] for name in DocumentRecord.__slots__}
    return DocumentRecord(
        **{
            **values,
            "status": DocumentStatus(row["status"]),
            "labels": labels_of(row["labels"]),
            "chunking": None if chunking is None else Chunking(**chunking),
            "replaces": tuple((file_id, labels) for file_id, labels in row["replaces"]),
        }
    )
