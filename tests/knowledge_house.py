"""Files and vector stores on a database and a folder, without ingestion and search."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.database import Database
from serving.auth import Caller
from serving.config import ArtifactSettings
from serving.knowledge.blobs import Blobs
from serving.knowledge.document_records import Documents
from serving.knowledge.file_records import Files
from serving.knowledge.library import Library
from serving.knowledge.shelves import Attachment, Shelves
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA
from serving.knowledge.views import Publisher, Views

ALICE = Caller("alice", frozenset(), labels=frozenset({"finance"}), writes_knowledge=True)
BOB = Caller("bob", frozenset(), writes_knowledge=True)
ROOT = Caller("root", frozenset(), admin=True)


@dataclass(frozen=True, slots=True)
class House:
    """A library with its shelves. The configuration reserves the name ``rules``."""

    database: Database
    stores: Stores
    documents: Documents
    publisher: Publisher
    blobs: Blobs
    library: Library
    shelves: Shelves
    folder: Path
    """Of the blobs."""

    def store(self, *files: str, labels: str | None = None) -> str:
        """A store of alice's in which these files carry ``labels``."""
        store_id = self.shelves.create(ALICE, "", {}).record.id
        attributes = {} if labels is None else {"labels": labels}
        self.shelves.attach(ALICE, store_id, [Attachment(one, attributes) for one in files])
        return store_id


@contextmanager
def open_house(folder: Path, state_url: str | None = None) -> Iterator[House]:
    """A new one, whose whole state is in ``folder``, but for the records where ``state_url`` is given."""
    database = Database(state_url or f"sqlite:///{folder}/state.db", SCHEMA)
    database.migrate()
    files, stores, documents = Files(database), Stores(database), Documents(database)
    publisher = Publisher(Views(), stores, documents)
    blobs = Blobs(ArtifactSettings(url=str(folder / "artifacts")))
    library = Library(files, stores, documents, blobs, publisher, max_file_bytes=1000, changed=lambda: None)
    shelves = Shelves(stores, documents, library, publisher, changed=lambda: None, reserved=["rules"])
    try:
        yield House(database, stores, documents, publisher, blobs, library, shelves, folder / "artifacts" / "files")
    finally:
        database.close()
