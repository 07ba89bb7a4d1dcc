"""Records of vector stores."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from adapters.database import Database
from serving.knowledge.file_records import next_serial
from serving.knowledge.tables import documents, editions, stores
from serving.knowledge.types import StoreRecord, canonical_labels, labels_of


class Stores:
    """The vector stores. Blocking, thread-safe. Every method may raise CatalogUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: StoreRecord) -> StoreRecord:
        """Store a record; its serial is given here."""
        with self._database.writing() as connection:
            values = {name: getattr(record, name) for name in StoreRecord.__slots__}
            values |= {"serial": next_serial(connection, stores), "labels": canonical_labels(record.labels)}
            connection.execute(insert(stores).values(**values))
        return _record(values)

    def get(self, store_id: str) -> StoreRecord | None:
        """One store."""
        with self._database.reading() as connection:
            row = connection.execute(select(stores).where(stores.c.id == store_id)).mappings().one_or_none()
        return None if row is None else _record(row)

    def all(self) -> list[StoreRecord]:
        """Every store, the oldest first."""
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(select(stores).order_by(stores.c.serial)).mappings()]

    def change(self, store_id: str, **values: Any) -> None:
        """Set columns; an unknown store is no error."""
        if "labels" in values:
            values["labels"] = canonical_labels(values["labels"])
        let_go = [name for name in ("index_name", "building_name") if name in values]
        with self._database.writing() as connection:
            _leave(connection, store_id, let_go)
            connection.execute(update(stores).where(stores.c.id == store_id).values(**values))

    def finish_building(self, store_id: str) -> bool:
        """Make the index that was built the one that is searched, with all its editions, in one transaction.

        False, and nothing changed, where a document that is served is not in it yet.
        """
        missing = select(documents.c.id).where(
            documents.c.store_id == store_id, documents.c.edition.is_not(None), documents.c.next_edition.is_(None)
        )
        with self._database.writing() as connection:
            if connection.execute(missing.limit(1)).first() is not None:
                return False
            _leave(connection, store_id, ["index_name"])
            connection.execute(
                update(documents)
                .where(documents.c.store_id == store_id)
                .values(edition=documents.c.next_edition, next_edition=None)
            )
            connection.execute(
                update(stores)
                .where(stores.c.id == store_id)
                .values(
                    index_name=stores.c.building_name,
                    recipe=stores.c.building_recipe,
                    building_name=None,
                    building_recipe=None,
                )
            )
        return True

    def start_building(self, store_id: str, index_name: str, recipe: str) -> None:
        """Note the index that is to take the place of the present one. What an earlier attempt built is forgotten."""
        with self._database.writing() as connection:
            _leave(connection, store_id, ["building_name"])
            connection.execute(update(documents).where(documents.c.store_id == store_id).values(next_edition=None))
            connection.execute(
                update(stores).where(stores.c.id == store_id).values(building_name=index_name, building_recipe=recipe)
            )

    def delete(self, store_id: str) -> None:
        """Forget a store and what is in it; the files stay."""
        with self._database.writing() as connection:
            _leave(connection, store_id, ["index_name", "building_name"])
            connection.execute(delete(stores).where(stores.c.id == store_id))


def _record(row: Any) -> StoreRecord:
    return StoreRecord(**{**row, "labels": labels_of(row["labels"])})


def _leave(connection: Connection, store_id: str, columns: Sequence[str]) -> None:
    """Note that the store lets go of indexes: one without passages has no other trace by which it could be removed."""
    for column in columns:
        name = connection.execute(select(stores.c[column]).where(stores.c.id == store_id)).scalar_one_or_none()
        if name is not None:
            connection.execute(insert(editions).values(index_name=name))
