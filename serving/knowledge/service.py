"""``KnowledgeService``: files, vector stores, ingestion and search, tied together. One for each installation."""

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from adapters.database import Database
from adapters.errors import CatalogUnavailable, StoreUnavailable
from monitoring.knowledge import KnowledgeMetrics
from retrieval.indexes.protocol import IndexStore
from retrieval.parsing.isolated import IsolatedParser
from serving.api.embeddings import EmbeddingsApi
from serving.api.files import FilesApi
from serving.api.guarded import Guarded, answer_errors
from serving.api.vector_stores import VectorStoresApi
from serving.auth import Authenticator
from serving.config import GatewayConfig
from serving.errors import ConfigInvalid
from serving.knowledge.blobs import Blobs
from serving.knowledge.configured import ConfiguredBases
from serving.knowledge.document_records import Documents
from serving.knowledge.editions import Edition
from serving.knowledge.file_records import Files
from serving.knowledge.indexes import Indexes, open_milvus
from serving.knowledge.ingestion import Ingestion
from serving.knowledge.library import Library
from serving.knowledge.models import Models
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.knowledge.searcher import Searcher
from serving.knowledge.shelves import Shelves
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA
from serving.knowledge.views import Publisher, Views
from serving.observability.audit import open_audit

logger = logging.getLogger(__name__)

_CHORES_S = 60.0
_TIDY_S = 3600.0
"""The artifact store is listed for it, which a bucket charges for."""


class KnowledgeService:
    """Owns the indexes: one process at a time writes to them.

    Args:
        open_indexes: opens the store of indexes; default: the Milvus that the configuration names.

    Raises:
        ConfigInvalid: the configuration has no section `knowledge`.
    """

    def __init__(self, config: GatewayConfig, *, open_indexes: Callable[[], IndexStore] | None = None) -> None:
        if config.knowledge is None:
            raise ConfigInvalid("there is no section `knowledge` in the configuration")
        settings = config.knowledge
        self._database = Database(config.state.url, SCHEMA)
        self._files = Files(self._database)
        self._stores = Stores(self._database)
        self._documents = Documents(self._database)
        self._indexes = Indexes(open_indexes or (lambda: open_milvus(settings.index)))
        self._metrics = KnowledgeMetrics(CollectorRegistry())
        self._views = Views()
        self._publisher = Publisher(self._views, self._stores, self._documents)
        self._parser = IsolatedParser(timeout_s=settings.parse_timeout_s)
        blobs, models = Blobs(config.artifacts), Models(settings)
        self._models = models
        self._ingestion = Ingestion(
            settings,
            self._stores,
            self._documents,
            blobs,
            self._publisher,
            models,
            self._indexes,
            self._parser.parse,
            self._metrics,
            discard=lambda file_id: self._library.discard(file_id),
        )
        wake = self._ingestion.wake
        self._library = Library(
            self._files,
            self._stores,
            self._documents,
            blobs,
            self._publisher,
            max_file_bytes=settings.max_file_bytes,
            changed=wake,
        )
        self._shelves = Shelves(
            self._stores, self._documents, self._library, self._publisher, changed=wake, reserved=settings.bases
        )
        self._searcher = Searcher(settings, self._views, models, self._indexes)
        self._configured = ConfiguredBases(settings, self._stores, self._documents, self._shelves, self._library)
        self._stopping = threading.Event()
        self._chores = threading.Thread(target=self._do_chores, name="chores", daemon=True)
        self.app: ASGIApp = self._build_app(config, settings_models=models)

    async def start(self) -> None:
        """Bring the tables up to date, show what is served, and go on where an earlier process stopped.

        Raises:
            CatalogUnavailable: the state database cannot be used.
        """
        await self.start_reading()
        await self.start_writing()

    async def start_reading(self) -> None:
        """Answer searches from what there is, while another process still writes. Raises CatalogUnavailable.

        Uploads are taken; they are ingested once this process writes.
        """
        await asyncio.to_thread(self._start_reading)

    async def look_again(self) -> None:
        """Show what the process that writes has changed since. Raises CatalogUnavailable."""
        await asyncio.to_thread(self._publisher.everything)

    async def start_writing(self) -> None:
        """Be the one that writes, after :meth:`start_reading`, once no other does. Raises CatalogUnavailable."""
        await asyncio.to_thread(self._start_writing)

    async def stop(self) -> None:
        """End, within seconds: what is unfinished is finished by the next process."""
        self._stopping.set()
        await asyncio.to_thread(self._stop)

    async def search(self, request: SearchRequest) -> SearchResult:
        """See KnowledgeClient."""
        return await asyncio.to_thread(self._search, request)

    async def metrics_text(self) -> bytes:
        """What is measured here, in Prometheus' text format."""
        return self._metrics.render()

    def _start_reading(self) -> None:
        self._database.migrate()
        self._configured.ensure()
        self._publisher.everything()

    def _start_writing(self) -> None:
        # What the other process did since.
        self._publisher.everything()
        self._ingestion.start()
        self._configured.start()
        self._chores.start()

    def _stop(self) -> None:
        self._configured.stop()
        self._ingestion.stop()
        self._parser.close()
        self._models.close()
        self._indexes.close()
        self._database.close()

    def _search(self, request: SearchRequest) -> SearchResult:
        return self._searcher.search(request)

    def _texts(self, store_id: str, file_id: str) -> list[str]:
        name, number = self._searched(store_id, file_id)
        index = None if name is None else self._indexes().open(name)
        return [] if index is None else [passage.text for passage in index.passages(number)]

    def _edition(self, store_id: str, file_id: str) -> Edition | None:
        name, number = self._searched(store_id, file_id)
        index = None if name is None else self._indexes().open(name)
        if name is None or index is None:
            return None
        passages, vectors = index.stored(number)
        return Edition(name, number, index.spec, passages, vectors)

    def _searched(self, store_id: str, file_id: str) -> tuple[str | None, int]:
        """The index that a file is searched in, and its edition there; None where it is in none."""
        record, document = self._stores.get(store_id), self._documents.get(store_id, file_id)
        if record is None or document is None or document.edition is None:
            return None, 0
        return record.index_name, document.edition

    def _do_chores(self) -> None:
        tidy_at = monotonic()
        while not self._stopping.wait(_CHORES_S):
            try:
                self._library.expire()
                self._shelves.note_use(self._views.touched())
                self._shelves.expire()
                if tidy_at <= monotonic():
                    tidy_at = monotonic() + _TIDY_S
                    self._library.tidy()
            except (CatalogUnavailable, StoreUnavailable) as error:
                logger.warning("nothing expires now: %s", error)
            except Exception:
                logger.exception("what has expired could not be removed; trying again")

    def _build_app(self, config: GatewayConfig, settings_models: Models) -> ASGIApp:
        app = FastAPI(
            title="Loraplex knowledge", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
        )
        app.include_router(FilesApi(self._library).router())
        app.include_router(
            VectorStoresApi(
                self._shelves, self._search, self._texts, self._configured.sync_soon, self._edition
            ).router()
        )
        if config.knowledge is not None:
            app.include_router(EmbeddingsApi(config.knowledge, settings_models).router())
        answer_errors(app)
        return Guarded(app, Authenticator(config), lambda _: None, open_audit(config))
