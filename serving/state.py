"""The state database as a whole: whose tables are in it, and how all of them are brought up to date."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from adapters.database import CATALOG_SCHEMA, Database
from adapters.errors import CatalogUnavailable
from adapters.schema import Schema
from serving.jobs.tables import SCHEMA as JOBS_SCHEMA
from serving.knowledge.tables import SCHEMA as KNOWLEDGE_SCHEMA
from serving.observing.tables import SCHEMA as MONITORING_SCHEMA

SCHEMAS: Mapping[str, Schema] = {
    "catalog": CATALOG_SCHEMA,
    "knowledge": KNOWLEDGE_SCHEMA,
    "jobs": JOBS_SCHEMA,
    "monitoring": MONITORING_SCHEMA,
}
"""Every part of the state, by name. A gateway makes the tables of the parts that it is configured for; ``migrate`` and
``restore`` make all."""

_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """The revision of one part of the state."""

    part: str
    before: str | None
    """What was found; None: no tables."""
    head: str
    """What this Loraplex has."""

    @property
    def is_behind(self) -> bool:
        """Whether the database lacks something of it."""
        return self.before != self.head


@contextmanager
def open_state(url: str) -> Iterator[Database]:
    """The database, closed at the end. Raises CatalogUnavailable."""
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def wait_for_state(url: str, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Return once the database can be reached; ask again and again for as long. Raises CatalogUnavailable."""
    until = clock() + seconds
    while True:
        try:
            with open_state(url) as database:
                database.reach()
            return
        except CatalogUnavailable:
            if clock() + _PAUSE_S > until:
                raise
            time.sleep(_PAUSE_S)


def standings(url: str) -> list[Standing]:
    """The revision of every part, without changing any. Raises CatalogUnavailable."""
    return _each(url, Database.revision)


def migrate_state(url: str) -> list[Standing]:
    """Bring every part up to date, and tell what each was before; safe from several processes at once.

    Raises:
        CatalogUnavailable: it cannot be reached, or is none that this Loraplex may touch.
    """
    return _each(url, lambda database: database.migrate().before)


def _each(url: str, before: Callable[[Database], str | None]) -> list[Standing]:
    found = []
    for part, schema in SCHEMAS.items():
        database = Database(url, schema)
        try:
            found.append(Standing(part, before(database), schema.head))
        finally:
            database.close()
    return found
