"""Records of uploaded files."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from adapters.database import Database
from serving.knowledge.tables import documents, files
from serving.knowledge.types import FileRecord, labels_of

_AT_ONCE = 500


class Files:
    """The files that were uploaded. Blocking, thread-safe. Every method may raise CatalogUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: FileRecord) -> FileRecord:
        """Store a record; its serial is given here."""
        with self._database.writing() as connection:
            serial = next_serial(connection, files)
            values = {name: getattr(record, name) for name in FileRecord.__slots__} | {"serial": serial}
            connection.execute(insert(files).values(**values))
        return FileRecord(**values)

    def get(self, file_id: str) -> FileRecord | None:
        """One file."""
        with self._database.reading() as connection:
            row = connection.execute(select(files).where(files.c.id == file_id)).mappings().one_or_none()
        return None if row is None else FileRecord(**row)

    def page(self, *, after: int | None, ascending: bool, limit: int, purpose: str | None) -> list[FileRecord]:
        """Up to ``limit`` files in order of arrival, from behind the serial ``after``."""
        query = select(files).order_by(files.c.serial if ascending else files.c.serial.desc()).limit(limit)
        if after is not None:
            query = query.where(files.c.serial > after if ascending else files.c.serial < after)
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        with self._database.reading() as connection:
            return [FileRecord(**row) for row in connection.execute(query).mappings()]

    def delete(self, file_id: str) -> None:
        """Forget a file, and take it out of every store."""
        with self._database.writing() as connection:
            connection.execute(delete(files).where(files.c.id == file_id))

    def attachments(self, file_ids: Sequence[str]) -> dict[str, list[tuple[str, frozenset[str]]]]:
        """For each file that is in a store: those stores, with the labels that it carries there."""
        found: dict[str, list[tuple[str, frozenset[str]]]] = {}
        query = select(documents.c.file_id, documents.c.store_id, documents.c.labels)
        with self._database.reading() as connection:
            for row in connection.execute(query.where(documents.c.file_id.in_(file_ids))):
                found.setdefault(row.file_id, []).append((row.store_id, labels_of(row.labels)))
        return found

    def known(self, file_ids: Sequence[str]) -> set[str]:
        """Those of the ids that have a record."""
        found: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(file_ids), _AT_ONCE):
                query = select(files.c.id).where(files.c.id.in_(file_ids[start : start + _AT_ONCE]))
                found.update(connection.execute(query).scalars())
        return found

    def expired(self, now: int) -> list[str]:
        """Files whose time is over at ``now``, Unix seconds."""
        with self._database.reading() as connection:
            return list(connection.execute(select(files.c.id).where(files.c.expires_at <= now)).scalars())


def next_serial(connection: Connection, table: Any) -> int:
    """The place behind the last; the writing transaction keeps it: whoever else writes waits for its end."""
    return int(connection.execute(select(func.coalesce(func.max(table.c.serial), 0))).scalar_one()) + 1
