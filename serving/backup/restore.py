"""Bringing a backup into an installation that was never used.

Everything is checked before anything is changed. Artifacts and passages come first, the rows last, in one transaction:
until then the database holds only a mark, by which no gateway starts on it, and a restore that broke off goes on when
it is begun again.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, delete, func, inspect, select, text

from adapters.database import RESTORING, Database
from adapters.layout import SERVED
from adapters.store import ArtifactStore, verify
from adapters.tables import replicas
from adapters.tables import state as catalog_state
from retrieval.indexes.protocol import IndexSpec, IndexStore
from serving.backup.errors import BackupInvalid, NotEmpty
from serving.backup.job_folders import JOB, restore_job
from serving.backup.manifest import Manifest
from serving.backup.passages import read_edition
from serving.backup.rows import Row, insert_rows, read_rows
from serving.backup.side_by_side import side_by_side
from serving.backup.snapshot import kept_tables
from serving.backup.vault import Vault
from serving.config import GatewayConfig
from serving.jobs.tables import installation
from serving.jobs.types import UNFINISHED, JobStatus
from serving.knowledge.blobs import Blobs
from serving.state import SCHEMAS, open_state

Say = Callable[[str], None]

_LATELY_S = 30.0
"""A replica that reported within these seconds is taken for alive."""

_LOST_JOB = {
    "code": "not_in_backup",
    "message": "The gateway was restored from a backup that lacks this job's folder; create the job again.",
    "param": None,
}


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    backup: str
    rows: int
    adapters: int
    files: int
    documents: int
    """Whose passages were brought back with their vectors."""
    to_embed: int
    """Documents that are read and embedded again when the gateway has started."""


def check_backup(vault: Vault, manifest: Manifest, say: Say) -> None:
    """Read every piece. Raises BackupInvalid unless this Loraplex can restore all of it; VaultUnavailable."""
    for part, revision in manifest.schemas.items():
        schema = SCHEMAS.get(part)
        if schema is None or not schema.knows(revision):
            raise BackupInvalid(
                f"the backup {manifest.id} was made by Loraplex {manifest.loraplex}, whose state has schema {revision} "
                f"of {part}; this Loraplex is older: restore it with that version."
            )
    known = {table.name for table in kept_tables()}
    served = all(one.files.keys() == set(SERVED) for one in manifest.adapters.values())
    if not (manifest.tables.keys() <= known and served and all(map(JOB.fullmatch, manifest.jobs))):
        raise BackupInvalid(f"the backup {manifest.id} names what no Loraplex makes; it was altered.")
    side_by_side(vault.check, manifest.pieces)
    say(f"Checked {len(manifest.pieces)} pieces, {sum(manifest.pieces.values())} bytes")


class Restore:
    """One restore, into the installation that ``config`` describes.

    Args:
        open_indexes: opens the store of indexes; None where the configuration has no section `knowledge`.
        say: told what is done.
    """

    def __init__(
        self,
        config: GatewayConfig,
        vault: Vault,
        manifest: Manifest,
        open_indexes: Callable[[], IndexStore] | None,
        say: Say,
    ) -> None:
        self._config = config
        self._vault = vault
        self._manifest = manifest
        self._open_indexes = open_indexes
        self._say = say

    def run(self) -> Restored:
        """Check the backup, then restore it.

        Raises:
            NotEmpty: the installation holds something; nothing was changed.
            BackupInvalid: the backup cannot be restored; nothing was changed.
            CatalogUnavailable, StoreUnavailable, IndexUnavailable, VaultUnavailable, OSError: begin it again.
        """
        check_backup(self._vault, self._manifest, self._say)
        indexes = self._open_indexes() if self._open_indexes is not None and self._manifest.indexes else None
        try:
            with open_state(self._config.state.url) as database, tempfile.TemporaryDirectory() as scratch:
                self._begin(database, indexes)
                self._artifacts(Path(scratch))
                self._jobs()
                if indexes is not None:
                    self._passages(indexes)
                with database.maintaining() as connection:
                    rows, to_embed = self._rows(connection, Path(scratch))
        finally:
            if indexes is not None:
                indexes.close()
        manifest = self._manifest
        documents = sum(len(one.editions) for one in manifest.indexes.values()) if indexes is not None else 0
        return Restored(manifest.id, rows, len(manifest.adapters), len(manifest.files), documents, to_embed)

    # Beginning

    def _begin(self, database: Database, indexes: IndexStore | None) -> None:
        """See that all is empty, and leave the mark; or find the mark that an earlier attempt left."""
        with database.maintaining() as connection:
            if inspect(connection).has_table(RESTORING):
                begun = connection.execute(text(f"SELECT backup FROM {RESTORING}")).scalar_one()  # noqa: S608
                if begun != self._manifest.id:
                    raise NotEmpty(
                        f"the restoring of another backup into {database.shown_url} was begun and has not ended: end "
                        f"it with `--backup {begun}`, or use an empty database, artifact store and index."
                    )
                self._say("Going on with a restore that broke off")
                return
            for schema in SCHEMAS.values():
                schema.upgrade(connection)
            self._require_empty(database, connection)
            self._require_no_artifacts()
            self._require_no_indexes(indexes)
            self._require_no_jobs()
            connection.execute(text(f"CREATE TABLE {RESTORING} (backup VARCHAR(64) NOT NULL)"))
            connection.execute(text(f"INSERT INTO {RESTORING} VALUES (:backup)"), {"backup": self._manifest.id})  # noqa: S608

    def _require_empty(self, database: Database, connection: Connection) -> None:
        lately = datetime.now(UTC) - timedelta(seconds=_LATELY_S)
        if connection.execute(select(replicas.c.replica).where(replicas.c.reported_at > lately)).first() is not None:
            raise NotEmpty(f"a gateway runs on the state database {database.shown_url}; stop it first.")
        for table in kept_tables():
            query = select(func.count()).select_from(table)
            if table is catalog_state:
                query = query.where(catalog_state.c.revision > 0)
            found = connection.execute(query).scalar_one()
            if found and table is not installation:
                raise NotEmpty(
                    f"the state database {database.shown_url} is in use ({table.name} has {found} rows); a backup is "
                    "restored into an installation that was never started: name a new database in `state.url`."
                )

    def _require_no_artifacts(self) -> None:
        if not ArtifactStore(self._config.artifacts.url, self._config.artifacts.options).is_empty():
            raise NotEmpty(
                f"the artifact store {self._config.artifacts.url} is not empty, and may be another installation's; "
                "name an empty folder or prefix in `artifacts.url`."
            )

    def _require_no_indexes(self, indexes: IndexStore | None) -> None:
        there = [] if indexes is None else sorted(self._manifest.indexes.keys() & set(indexes.names()))
        if there:
            raise NotEmpty(
                f"the index store already holds {there[0]}, which the backup brings: it is that of the installation "
                "that was backed up; name another one in `knowledge.index.uri`."
            )

    def _require_no_jobs(self) -> None:
        folder = None if self._config.training is None else self._config.training.folder
        if folder is not None and folder.is_dir() and any(JOB.fullmatch(path.name) for path in folder.iterdir()):
            raise NotEmpty(
                f"{folder} holds folders of fine-tuning jobs, which this installation would take for its own; name "
                "another folder in `training.folder`."
            )

    # What the rows speak of

    def _artifacts(self, scratch: Path) -> None:
        store = ArtifactStore(self._config.artifacts.url, self._config.artifacts.options)
        for name, adapter in self._manifest.adapters.items():
            if store.exists(name):
                continue
            folder = scratch / "adapter"
            folder.mkdir(exist_ok=True)
            for file in SERVED:
                self._vault.fetch(adapter.files[file], folder / file)
            verify(folder, name, adapter.digest)
            store.put(folder, name)
        self._say(f"Restored {len(self._manifest.adapters)} adapter versions")
        blobs = Blobs(self._config.artifacts)
        there = {name for name, _ in blobs.entries()}

        def bring(file_id: str) -> None:
            blobs.put(file_id, self._vault.read(self._manifest.files[file_id]))

        side_by_side(bring, sorted(self._manifest.files.keys() - there))
        self._say(f"Restored {len(self._manifest.files)} files")

    def _jobs(self) -> None:
        if self._config.training is None:
            return
        for job, pieces in self._manifest.jobs.items():
            restore_job(self._vault, self._config.training.folder, job, pieces)
        self._say(f"Restored the folders of {len(self._manifest.jobs)} fine-tuning jobs")

    def _passages(self, indexes: IndexStore) -> None:
        for name, copy in self._manifest.indexes.items():
            spec = IndexSpec(copy.dimension, copy.embedder)
            index = indexes.create(name, spec)
            there = index.documents()
            for number, piece in copy.editions.items():
                edition = read_edition(self._vault.read(piece), name, number, spec)
                # An attempt that broke off may have written a part of it.
                if number not in there or len(index.passages(number)) != len(edition.passages):
                    index.add(edition.passages, edition.vectors)
            self._say(f"Restored the passages of {len(copy.editions)} documents in {name}")

    # The rows

    def _rows(self, connection: Connection, scratch: Path) -> tuple[int, int]:
        """Put in every row. How many, and how many documents are to be embedded again."""
        if not inspect(connection).has_table(RESTORING):
            raise NotEmpty("another `loraplex restore` has ended meanwhile; there is nothing left to do.")
        for part, schema in SCHEMAS.items():
            revision = self._manifest.schemas.get(part)
            if revision is not None and revision != schema.head:
                schema.make_anew(connection, revision)
            # A migration puts in a few rows of its own.
            there = set(inspect(connection).get_table_names())
            for table in reversed(schema.tables.sorted_tables):
                if table.name in there:
                    connection.execute(delete(table))
        mending = _Mending(self._manifest, with_passages=self._open_indexes is not None)
        total, path = 0, scratch / "rows"
        for table in kept_tables():
            copy = self._manifest.tables.get(table.name)
            if copy is None:
                continue
            self._vault.fetch(copy.piece, path)
            columns, rows = read_rows(path)
            if columns.table != table.name:
                raise BackupInvalid(f"the rows of {table.name} in the backup are those of {columns.table}.")
            count = insert_rows(connection, columns, map(partial(mending.row, table.name), rows))
            if count != copy.rows:
                raise BackupInvalid(f"the backup should hold {copy.rows} rows of {table.name}, and holds {count}.")
            total += count
        for schema in SCHEMAS.values():
            schema.upgrade(connection)
        connection.execute(text(f"DROP TABLE {RESTORING}"))
        self._say(f"Restored {total} rows")
        return total, mending.to_embed


class _Mending:
    """Rows as they are true here: of what the backup does not bring, they say so."""

    def __init__(self, manifest: Manifest, *, with_passages: bool) -> None:
        self._jobs = manifest.jobs
        self._indexes = {name: set(copy.editions) for name, copy in manifest.indexes.items()} if with_passages else {}
        self._editions = {number for numbers in self._indexes.values() for number in numbers}
        self.to_embed = 0

    def row(self, table: str, row: Row) -> Row:
        """The row as it is put in."""
        match table:
            case "knowledge_stores":
                return self._store(row)
            case "knowledge_documents":
                return self._document(row)
            case "training_jobs":
                return self._job(row)
        return row

    def _store(self, row: Row) -> Row:
        # An index that was being built beside it is begun again.
        row |= {"building_name": None, "building_recipe": None}
        return row if row["index_name"] in self._indexes else row | {"index_name": None, "recipe": None}

    def _document(self, row: Row) -> Row:
        row |= {"next_edition": None}
        is_there = row["edition"] in self._editions or not row["passages"]
        if row["edition"] is None or is_there:
            return row
        self.to_embed += 1
        return row | {"status": "in_progress", "edition": None, "attempts": 0}

    def _job(self, row: Row) -> Row:
        if row["status"] not in {one.value for one in UNFINISHED}:
            return row
        if row["id"] not in self._jobs:
            error = {"error": json.dumps(_LOST_JOB), "finished_at": int(time.time()), "estimated_finish": None}
            return row | error | {"status": JobStatus.FAILED.value}
        # Its trainer begins anew, and with it the file that is read.
        return row | {"read_to": 0, "fruitless_starts": 0}
