"""What the state says at one moment: its rows, and which artifacts and passages they speak of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Table, select

from adapters.database import Database
from adapters.errors import CatalogUnavailable
from adapters.tables import replicas, versions
from serving.backup.passages import EditionRef
from serving.backup.rows import write_rows
from serving.jobs.tables import jobs
from serving.jobs.types import UNFINISHED
from serving.knowledge.tables import documents, files, stores
from serving.observing.tables import keepers
from serving.state import SCHEMAS

_OF_PROCESSES = (replicas, keepers)
"""What is true only as long as the processes live that wrote it."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file."""

    id: str
    sha256: str
    bytes: int


@dataclass(slots=True)
class Snapshot:
    """One moment."""

    schemas: dict[str, str] = field(default_factory=dict)
    """Revision of each part of the state that there is."""
    tables: dict[str, tuple[Path, int]] = field(default_factory=dict)
    """The file with each table's rows, and how many those are."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Digest of each version."""
    files: list[StoredFile] = field(default_factory=list)
    editions: dict[EditionRef, int] = field(default_factory=dict)
    """How many passages each edition that is searched has."""
    jobs: dict[str, bool] = field(default_factory=dict)
    """Whether each fine-tuning job has ended."""


def kept_tables(parts: Iterable[str] = tuple(SCHEMAS)) -> Iterator[Table]:
    """Every table whose rows are backed up, those that others refer to first."""
    for schema in (SCHEMAS[part] for part in parts):
        yield from (table for table in schema.tables.sorted_tables if table not in _OF_PROCESSES)


def take_snapshot(database: Database, folder: Path) -> Snapshot:
    """Read the state in one transaction, while others write. Its rows go into files in ``folder``.

    Raises:
        CatalogUnavailable: it cannot be read, or is not of this Loraplex's schema.
    """
    taken = Snapshot()
    with database.reading(at_length=True) as connection:
        taken.schemas = _revisions(database, connection)
        for table in kept_tables(taken.schemas):
            path = folder / f"{table.name}.jsonl.gz"
            taken.tables[table.name] = path, write_rows(connection, table, path)
        if "catalog" in taken.schemas:
            known = connection.execute(select(versions.c.name, versions.c.digest))
            taken.adapters = {row.name: row.digest for row in known}
        if "knowledge" in taken.schemas:
            stored = connection.execute(select(files.c.id, files.c.sha256, files.c.bytes))
            taken.files = [StoredFile(*row) for row in stored]
            taken.editions = _editions(connection)
        if "jobs" in taken.schemas:
            unfinished = {one.value for one in UNFINISHED}
            known = connection.execute(select(jobs.c.id, jobs.c.status))
            taken.jobs = {row.id: row.status not in unfinished for row in known}
    return taken


def _revisions(database: Database, connection: Connection) -> dict[str, str]:
    """Of the parts that are there: a gateway makes no tables of what it is not configured for."""
    found: dict[str, str] = {}
    for part, schema in SCHEMAS.items():
        revision = schema.current(connection)
        if revision not in (None, schema.head):
            raise CatalogUnavailable(
                f"the state database {database.shown_url} has schema {revision} of {part}, and this Loraplex "
                f"{schema.head}; run `loraplex migrate` first."
            )
        if revision is not None:
            found[part] = revision
    if not found:
        raise CatalogUnavailable(
            f"the state database {database.shown_url} has no tables: there is nothing to back up; check `state.url`."
        )
    return found


def _editions(connection: Connection) -> dict[EditionRef, int]:
    query = (
        select(stores.c.index_name, documents.c.edition, stores.c.id, documents.c.file_id, documents.c.passages)
        .join(stores, stores.c.id == documents.c.store_id)
        .where(documents.c.edition.is_not(None), stores.c.index_name.is_not(None), documents.c.passages > 0)
    )
    return {EditionRef(row[0], int(row[1]), row[2], row[3]): int(row[4]) for row in connection.execute(query)}
