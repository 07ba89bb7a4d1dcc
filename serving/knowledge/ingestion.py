"""The one worker that writes to indexes: new documents first, then indexes made anew, then what is left over.

Every step can be killed at any moment: an edition gets its number, is written whole, and only then becomes the one that
is searched, in one transaction; what an interrupted step wrote is left over, and removed.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable

from adapters.errors import AdapterError
from monitoring.knowledge import KnowledgeMetrics
from retrieval.chunking import ChunkLimits
from retrieval.embedding import Embedder
from retrieval.errors import (
    DocumentUnreadable,
    EmbedderUnavailable,
    IndexMismatch,
    KnowledgeServerError,
    TextRejected,
)
from retrieval.indexes.protocol import IndexSpec, IndexStore, PassageIndex
from retrieval.ingest import limits_for, make_edition
from retrieval.parsing.blocks import ParsedDocument
from serving.config import KnowledgeSettings
from serving.knowledge.blobs import Blobs
from serving.knowledge.document_records import Documents
from serving.knowledge.models import Models
from serving.knowledge.recipes import Recipe
from serving.knowledge.searcher import OpenIndexes
from serving.knowledge.store_records import Stores
from serving.knowledge.sync import ORIGIN
from serving.knowledge.types import Chunking, DocumentRecord, StoreRecord, WrittenEdition
from serving.knowledge.views import Publisher
from serving.settings.knowledge import ChunkingSettings

logger = logging.getLogger(__name__)

Parse = Callable[[str, bytes], ParsedDocument]
"""See :func:`retrieval.parsing.parse.parse`."""

_LONGEST_TITLE = 1_000
_ADVISE_EVERY = 5_000
"""Passages that are written before a store is counted again."""
_MOST_ATTEMPTS = 3
"""Ingestions of a document during which the whole process ended."""
GRACE_S = 5.0
"""How long passages stay that nothing points at any more: a search that began before may still ask for them."""
_LONGEST_PAUSE_S = 30.0
_UNAVAILABLE = (KnowledgeServerError, AdapterError)
"""What passes by itself, or by an operator's hand: the document waits."""


class Ingestion:
    """Runs in a thread of its own between :meth:`start` and :meth:`stop`.

    Args:
        discard: deletes a file that is in no store any more.
    """

    def __init__(
        self,
        settings: KnowledgeSettings,
        stores: Stores,
        documents: Documents,
        blobs: Blobs,
        publisher: Publisher,
        models: Models,
        indexes: OpenIndexes,
        parse: Parse,
        metrics: KnowledgeMetrics,
        *,
        discard: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._documents = documents
        self._blobs = blobs
        self._publisher = publisher
        self._models = models
        self._indexes = indexes
        self._parse = parse
        self._metrics = metrics
        self._discard = discard
        self._wake = threading.Event()
        self._stopping = False
        self._left_since: dict[int, float] = {}
        self._passed_over: set[int] = set()
        self._has_begun = False
        self._unadvised = _ADVISE_EVERY
        self._advised: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="ingestion", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the present step; a long one is abandoned, and repeated by the next process."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def _warm_up(self) -> None:
        """Load the embedder before the first question or document needs it."""
        try:
            self._models.embedder()
        except KnowledgeServerError as error:
            logger.warning("the embedder is not there yet: %s", error)
        except Exception:
            logger.exception("the embedder could not be loaded; it is tried again with the first document")

    def _run(self) -> None:
        self._warm_up()
        pause_s, said = 0.0, ""
        while not self._stopping:
            try:
                busy = self.step()
                pause_s, said = 0.0, ""
            except _UNAVAILABLE as error:
                busy, pause_s = False, min(max(2 * pause_s, 0.5), _LONGEST_PAUSE_S)
                if str(error) != said:
                    said = str(error)
                    logger.warning("ingestion waits: %s", said)
            except Exception:
                logger.exception("ingestion failed; trying again")
                busy, pause_s = False, _LONGEST_PAUSE_S
            if not busy:
                self._wake.wait(pause_s or GRACE_S)
                self._wake.clear()

    def step(self) -> bool:
        """Do the next thing that there is to do. False where there was none. Raises what makes it wait."""
        if not self._has_begun:
            self._begin()
            self._has_begun = True
        self._publisher.repair()
        document = self._documents.pending(self._passed_over)
        if document is None and self._passed_over:
            self._passed_over.clear()
            document = self._documents.pending()
        self._metrics.set_waiting(0 if document is None else self._documents.waiting())
        if document is not None:
            self._ingest(document)
            return True
        return self._build_anew() or self._sweep()

    def _begin(self) -> None:
        """Look at what an earlier process left: nobody searches in its leftovers any more."""
        self._mend_lost_indexes()
        leftovers = self._documents.leftovers()
        self._left_since = {number: -GRACE_S for some in leftovers.values() for number in some}

    def _mend_lost_indexes(self) -> None:
        """Ingest everything again of a store whose index is gone: a disk that was lost, another server's address."""
        for record in self._stores.all():
            if record.index_name is not None and self._indexes().open(record.index_name) is None:
                logger.warning("the index of the vector store %s is gone; it is made anew", record.id)
                with self._publisher.changing(record.id):
                    self._documents.ingest_again(record.id)
                    self._stores.change(
                        record.id, index_name=None, recipe=None, building_name=None, building_recipe=None
                    )
                    self._publisher.store(record.id)

    def _ingest(self, document: DocumentRecord) -> None:
        record = self._stores.get(document.store_id)
        if record is None:
            return
        if document.attempts >= _MOST_ATTEMPTS:
            self._fail(document, "server_error", "The process that read the file ended while it did, again and again.")
            return
        self._documents.set_attempts(document, document.attempts + 1)
        try:
            parsed = self._read(document)
            record, index, recipe = self._target(record)
            edition = self._write(document, parsed, index, record.index_name or "", recipe)
        except _UNAVAILABLE:
            # Perhaps for all documents, perhaps for this one alone: the others go first now.
            self._passed_over.add(document.id)
            self._documents.set_attempts(document, 0)
            raise
        except (DocumentUnreadable, TextRejected, ValueError) as error:
            self._fail(document, _code(error), str(error))
            return
        except Exception:
            logger.exception("%s could not be ingested", document.file_id)
            self._fail(document, "server_error", "The file could not be processed.")
            return
        self._finish(document, edition, parsed.title[:_LONGEST_TITLE])

    def _finish(self, document: DocumentRecord, edition: WrittenEdition, title: str) -> None:
        """From now on this edition is searched."""
        with self._publisher.changing(document.store_id):
            replaced = self._documents.complete(document, edition, title=title)
            if replaced is None:
                return
            self._publisher.document(document.store_id, document.file_id, *replaced)
        self._metrics.ingested(document.accepted_at)
        self._advise(document.store_id, edition.passages)
        if ORIGIN in document.attributes:  # nobody holds the ids of files that a sync uploaded
            for file_id in replaced:
                self._discard(file_id)

    def _advise(self, store_id: str, added: int) -> None:
        """Say, once a process, that a store has outgrown where it lives."""
        comfortable = self._indexes().capabilities.comfortable_passages
        self._unadvised += added
        if comfortable is None or self._unadvised < _ADVISE_EVERY:
            return
        self._unadvised = 0
        passages = sum(document.passages for document in self._documents.served(store_id))
        if passages > comfortable and store_id not in self._advised:
            self._advised.add(store_id)
            logger.warning(
                "the vector store %s has %d passages; above %d the embedded index takes long to open and much memory: "
                "set `knowledge.index.uri` to a Milvus server",
                store_id,
                passages,
                comfortable,
            )

    def _read(self, document: DocumentRecord) -> ParsedDocument:
        data = self._blobs.get(document.file_id)
        if data is None:
            raise DocumentUnreadable("server_error", "the file's content is missing from the artifact store")
        return self._parse(document.filename, data)

    def _write(
        self, document: DocumentRecord, parsed: ParsedDocument, index: PassageIndex, name: str, recipe: Recipe
    ) -> WrittenEdition:
        embedder = self._models.embedder(recipe.embedder)
        number = self._documents.begin_edition(name)
        describer = self._models.describer(recipe.chunking.describer)
        limits = _limits(embedder, recipe.chunking, document.chunking)
        edition = make_edition(number, parsed, limits, embedder, describer)
        index.add(edition.passages, edition.vectors)
        self._metrics.written(len(edition.passages))
        size = sum(len(passage.text.encode()) for passage in edition.passages)
        return WrittenEdition(number, len(edition.passages), size)

    def _fail(self, document: DocumentRecord, code: str, message: str) -> None:
        self._documents.fail(document, code, message)
        self._metrics.failed(code)

    def _target(self, record: StoreRecord) -> tuple[StoreRecord, PassageIndex, Recipe]:
        """The index that a store's new documents go to, made where there is none."""
        if record.index_name is not None and record.recipe is not None:
            recipe = Recipe.read(record.recipe)
            try:
                spec = _spec(self._models.embedder(recipe.embedder))
                return record, self._indexes().create(record.index_name, spec), recipe
            except (EmbedderUnavailable, IndexMismatch):
                # The model is away, or another one under the same name: an index of the present one takes over first.
                if not self._build_whole(record.id):
                    raise
                return self._target(self._stores.get(record.id) or record)
        recipe = self._recipe(record)
        name = _new_name()
        spec = _spec(self._models.embedder(recipe.embedder))
        self._documents.begin_edition(name)  # by which it is removed if this process ends before the store has it
        index = self._indexes().create(name, spec)
        with self._publisher.changing(record.id):
            self._stores.change(record.id, index_name=name, recipe=recipe.written())
            self._publisher.store(record.id)
        return self._stores.get(record.id) or record, index, recipe

    def _recipe(self, record: StoreRecord) -> Recipe:
        """As the configuration has it now."""
        base = self._settings.bases.get(record.name) if record.configured else None
        embedder = self._models.embedder()
        chunking = ChunkingSettings() if base is None else base.chunking
        return Recipe(self._settings.embedder, embedder.fingerprint, chunking)

    def _build_anew(self, store_id: str | None = None) -> bool:
        """One step towards the index of a store that was made by another recipe. False where there is none."""
        for record in self._stores.all():
            if record.recipe is None or (store_id is not None and record.id != store_id):
                continue
            wanted = self._recipe(record)
            if not Recipe.read(record.recipe).makes_the_same(wanted):
                self._build_step(record, wanted)
                return True
        return False

    def _build_whole(self, store_id: str) -> bool:
        """All steps towards it. False where there was none to make."""
        steps = 0
        while not self._stopping and self._build_anew(store_id):
            steps += 1
        return steps > 0

    def _build_step(self, record: StoreRecord, wanted: Recipe) -> None:
        name, written = record.building_name, wanted.written()
        if name is None or record.building_recipe != written:
            name = _new_name()
            logger.info("the vector store %s is indexed anew", record.id)
            self._stores.start_building(record.id, name, written)
        index = self._indexes().create(name, _spec(self._models.embedder(wanted.embedder)))
        document = self._documents.unbuilt(record.id)
        if document is None:
            with self._publisher.changing(record.id):
                finished = self._stores.finish_building(record.id)
                self._publisher.store(record.id)
            if finished:
                logger.info("the vector store %s is searched in its new index", record.id)
            return
        try:
            edition = self._write(document, self._read(document), index, name, wanted)
        except (DocumentUnreadable, TextRejected, ValueError) as error:
            # It was readable once: better one document less, and said so, than an index that is never finished.
            with self._publisher.changing(record.id):
                self._documents.withdraw(document, _code(error), str(error))
                self._publisher.document(document.store_id, document.file_id)
            self._metrics.failed(_code(error))
            return
        self._documents.complete_next(document, edition.number)

    def _sweep(self) -> bool:
        """Remove passages and indexes that nothing points at. False where there is nothing to remove now."""
        leftovers = self._documents.leftovers()
        now = time.monotonic()
        numbers = {number for some in leftovers.values() for number in some}
        self._left_since = {number: self._left_since.get(number, now) for number in numbers}
        due = {
            name: ripe
            for name, some in leftovers.items()
            if (ripe := [number for number in some if now - self._left_since[number] >= GRACE_S])
        }
        if not due:
            return False
        records = self._stores.all()
        used = {name for record in records for name in (record.index_name, record.building_name)}
        store = self._indexes()
        for name, ripe in due.items():
            _remove(store, name, ripe, whole=name not in used)
            self._documents.forget_editions(ripe)
        return True


def _remove(store: IndexStore, name: str, numbers: list[int], *, whole: bool) -> None:
    if whole:
        store.drop(name)
    elif (index := store.open(name)) is not None:
        index.remove(numbers)


def _code(error: Exception) -> str:
    """OpenAI's code for a document that cannot be ingested as it is."""
    return error.code if isinstance(error, DocumentUnreadable) else "invalid_file"


def _spec(embedder: Embedder) -> IndexSpec:
    return IndexSpec(embedder.dimension, embedder.fingerprint)


def _limits(embedder: Embedder, chunking: ChunkingSettings, asked: Chunking | None) -> ChunkLimits:
    reserved = 0 if chunking.describer is None else chunking.describer.max_tokens
    sizes = chunking if asked is None else asked
    return limits_for(embedder, sizes.max_tokens, sizes.overlap_tokens, reserved=reserved)


def _new_name() -> str:
    return f"kb_{uuid.uuid4().hex}"
